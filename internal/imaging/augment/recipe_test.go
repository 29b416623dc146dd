package augment_test

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/augment"
	"github.com/voxloop/voxloop/internal/testkit"
)

func TestRecipesRoundTrip(t *testing.T) {
	for _, r := range []augment.Recipe{augment.Default(), augment.Gentle(), everything(), {}} {
		text, err := r.YAML()
		if err != nil {
			t.Fatal(err)
		}
		back, err := augment.ParseRecipe(text)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		again, err := back.YAML()
		if err != nil || !bytes.Equal(again, text) {
			t.Errorf("after a round trip (%v):\n%s\nwant\n%s", err, again, text)
		}
	}
}

func TestParseRecipe(t *testing.T) {
	r, err := augment.ParseRecipe([]byte(`{"padding": "border", "transforms": [{"noise": {"probability": 0.5, "per_channel": 0.25, "sd": [0, 0.1]}}]}`))
	want := augment.Noise{Chance: augment.Chance{Probability: 0.5, PerChannel: 0.25}, SD: augment.Range{0, 0.1}}
	if err != nil || r.Padding != augment.PadBorder || len(r.Transforms) != 1 || *r.Transforms[0].Noise != want {
		t.Errorf("JSON: %+v, %v", r, err)
	}
	bad := map[string]string{ // text → part of the message
		"":                                "empty",
		"padding: mirror":                 "padding",
		"pad_value: .nan":                 "pad_value",
		"pad_value: 1e300":                "pad_value",
		"{padding: border, pad_label: 3}": "pad_label",
		"transforms: [{}]":                "transforms[0]",
		"transforms: [{warp: {}}]":        "warp",
		"transforms: [{noise: {probability: 1, sd: [0, 1], mean: 2}}]":                             "mean",
		"transforms: [{noise: {sd: [0, 1]}}]":                                                      "transforms[0].noise: probability",
		"transforms: [{noise: {probability: 1.5, sd: [0, 1]}}]":                                    "probability: 1.5",
		"transforms: [{noise: {probability: .nan, sd: [0, 1]}}]":                                   "probability",
		"transforms: [{noise: {probability: 1, per_channel: 2, sd: [0, 1]}}]":                      "per_channel",
		"transforms: [{noise: {probability: 1}}]":                                                  "no effect",
		"transforms: [{noise: {probability: 1, sd: [1, 0.5]}}]":                                    "ascending",
		"transforms: [{noise: {probability: 1, sd: [0, .inf]}}]":                                   "sd",
		"transforms: [{noise: {probability: 1, sd: [0, 1, 2]}}]":                                   "cannot be used",
		"transforms: [{noise: {probability: 1, sd: [0, 1]}, flip: {x: 1}}]":                        "exactly one",
		"transforms: [{flip: {x: 0}}]":                                                             "no effect",
		"transforms: [{flip: {x: -1, y: 1}}]":                                                      "x: -1",
		"transforms: [{rot90: {probability: 1, planes: [xx]}}]":                                    "planes",
		"transforms: [{rot90: {probability: 1, planes: [xy, xy]}}]":                                "planes",
		"transforms: [{spatial: {}}]":                                                              "none of",
		"transforms: [{spatial: {rotate: {probability: 1}}}]":                                      "no effect",
		"transforms: [{spatial: {rotate: {probability: 1, x: [0, 181]}}}]":                         "rotate.x",
		"transforms: [{spatial: {scale: {probability: 1, factor: [1, 1]}}}]":                       "no effect",
		"transforms: [{spatial: {scale: {probability: 1, factor: [0, 1]}}}]":                       "scale.factor",
		"transforms: [{spatial: {shear: {probability: 1, factor: [0, 0]}}}]":                       "no effect",
		"transforms: [{spatial: {translate: {probability: 1}}}]":                                   "no effect",
		"transforms: [{spatial: {elastic: {probability: 1, spacing: 10, magnitude: [0, 5]}}}]":     "fold",
		"transforms: [{spatial: {elastic: {probability: 1, spacing: 1, magnitude: [0, 5]}}}]":      "spacing",
		"transforms: [{blur: {probability: 1, sigma: [0, 5000]}}]":                                 "sigma",
		"transforms: [{gamma: {probability: 1, gamma: [0, 1]}}]":                                   "gamma",
		"transforms: [{gamma: {probability: 1, gamma: [1, 1]}}]":                                   "no effect",
		"transforms: [{brightness: {probability: 1}}]":                                             "no effect",
		"transforms: [{contrast: {probability: 1, factor: [1, 1]}}]":                               "no effect",
		"transforms: [{low_resolution: {probability: 1, zoom: [1, 1]}}]":                           "no effect",
		"transforms: [{low_resolution: {probability: 1, zoom: [0.5, 2]}}]":                         "zoom",
		"transforms: [{bias_field: {probability: 1, strength: [0, 1]}}]":                           "order",
		"transforms: [{ghosting: {probability: 1, ghosts: [1, 2], intensity: [0, 1]}}]":            "ghosts",
		"transforms: [{ghosting: {probability: 1, ghosts: [2, 2], intensity: [0, 1], axes: [w]}}]": "axes",
		"transforms: [{spike: {probability: 1, amplitude: [0, 1], frequency: [0, 0.6]}}]":          "frequency",
		"transforms: [{motion: {probability: 1, shift: [0, 1]}}]":                                  "moves",
		"transforms: [{style: {probability: 1, strength: [0, 1], knots: 2}}]":                      "knots",
		"transforms: [{style: {probability: 1, strength: [0, 0], knots: 5}}]":                      "no effect",
		"transforms: [{dropout: {probability: 0}}]":                                                "probability",
		"transforms: []\n---\ntransforms: []":                                                      "more than one",
		"transforms: {":                                                                            "cannot be used",
	}
	for text, part := range bad {
		_, err := augment.ParseRecipe([]byte(text))
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want an Invalid one with %q", text, err, part)
		}
	}
	if _, err := augment.ParseRecipe(bytes.Repeat([]byte(" "), 2<<20)); fault.KindOf(err) != fault.TooLarge {
		t.Errorf("a recipe of 2 MiB: %v", err)
	}
}

// fields calls fn for every parameter below v, with its path; fn may change it.
func fields(v reflect.Value, path string, fn func(path string, f reflect.Value)) {
	if v.Kind() == reflect.Pointer {
		if !v.IsNil() {
			fields(v.Elem(), path, fn)
		}
		return
	}
	if v.Kind() != reflect.Struct {
		fn(path, v)
		return
	}
	for i := range v.NumField() {
		fields(v.Field(i), path+"."+v.Type().Field(i).Name, fn)
	}
}

// perturb changes one parameter to another valid value.
func perturb(f reflect.Value) {
	switch x := f.Addr().Interface().(type) {
	case *augment.Range:
		x[0] += (x[1] - x[0]) * 0.4
	case *[2]int:
		x[0], x[1] = x[1]+1, x[1]+1
	case *augment.Axes:
		*x = augment.Axes{"y"}
	case *[]string:
		*x = []string{"yz"}
	case *bool:
		*x = !*x
	case *int:
		*x--
	case *float64:
		switch {
		case *x > 1: // a spacing
			*x += 1.5
		case *x == 0: // absent
			*x = 0.4
		default: // a probability
			*x = 0.01
		}
	}
}

// Every parameter of every transform changes what comes out.
func TestEveryKnobHasEffect(t *testing.T) {
	src := cube(3, [3]int{29, 31, 33})
	src.Spacing = [3]float64{1, 1.5, 2}
	outcome := func(s augment.Step) []*augment.Patch {
		var out []*augment.Patch
		for step := range uint64(10) {
			dst := augment.NewPatch(3, [3]int{16, 16, 16}, true)
			if err := augmenter(t, 1, s).Sample(t.Context(), augment.Key{Step: step}, src, [3]int{6, 7, 8}, dst); err != nil {
				t.Fatal(err)
			}
			out = append(out, dst)
		}
		return out
	}
	tried := 0
	for i, s := range everything().Transforms {
		base := outcome(s)
		var paths []string
		fields(reflect.ValueOf(&s), "", func(path string, _ reflect.Value) { paths = append(paths, path) })
		for _, path := range paths {
			changed := everything().Transforms[i]
			fields(reflect.ValueOf(&changed), "", func(p string, f reflect.Value) {
				if p == path {
					perturb(f)
				}
			})
			tried++
			differs := false
			for k, p := range outcome(changed) {
				differs = differs || !same(p, base[k])
			}
			if !differs {
				t.Errorf("%s has no effect", path)
			}
		}
	}
	if tried < 60 {
		t.Errorf("only %d parameters were tried", tried)
	}
}

func TestRefusals(t *testing.T) {
	a := augmenter(t, 1, everything().Transforms...)
	good := func() *augment.Patch { return cube(2, [3]int{4, 4, 4}) }
	short, spaced, huge := good(), good(), good()
	short.Data = short.Data[1:]
	spaced.Spacing = [3]float64{1, 0, 1}
	huge.Size = [3]int{1 << 20, 1 << 20, 1 << 20}
	for name, p := range map[string]*augment.Patch{"short": short, "spacing": spaced, "huge": huge, "empty": {}} {
		if err := a.Apply(t.Context(), augment.Key{}, p); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	bare := good()
	bare.Labels = nil
	for name, src := range map[string]*augment.Patch{"labels": bare, "channels": cube(1, [3]int{4, 4, 4})} {
		if err := a.Sample(t.Context(), augment.Key{}, src, [3]int{}, good()); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := a.Sample(t.Context(), augment.Key{}, good(), [3]int{math.MaxInt, 0, 0}, good()); fault.KindOf(err) != fault.Invalid {
		t.Errorf("far origin: %v", err)
	}
	if _, err := augment.New(augment.Recipe{}, augment.Options{Workers: -1}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("negative workers: %v", err)
	}
}

// The documentation's recipe is one, and its transforms are all there are.
func TestDocumentation(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(testkit.Root(t), "docs", "augmentation.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(text, -1)
	if len(examples) != 2 {
		t.Fatalf("the documentation has %d recipes", len(examples))
	}
	for i, want := range []augment.Recipe{augment.Default(), augment.Gentle()} {
		if r, err := augment.ParseRecipe([]byte(examples[i][1])); err != nil || !reflect.DeepEqual(r, want) {
			t.Errorf("%v, %v in\n%s", r, err, examples[i][1])
		}
	}
	steps := reflect.TypeFor[augment.Step]()
	for f := range steps.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if !strings.Contains(text, "\n| `"+name+"` |") {
			t.Errorf("the table of transforms lacks %s", name)
		}
		for _, key := range keys(f.Type.Elem()) {
			if !strings.Contains(text, "`"+key+"`") {
				t.Errorf("%s: the parameter %s is not explained", name, key)
			}
		}
	}
}

// keys returns the names that a transform's parameters have in a recipe.
func keys(t reflect.Type) []string {
	var out []string
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		kind := f.Type
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		if kind.Kind() == reflect.Struct {
			out = append(out, keys(kind)...)
		}
		if !strings.Contains(options, "inline") {
			out = append(out, name)
		}
	}
	return out
}

// A slice is bent within itself: nothing of its neighbours comes into it, and it
// is bent.
func TestElasticStaysInItsSlice(t *testing.T) {
	src := augment.NewPatch(1, [3]int{9, 24, 24}, true)
	for i := range src.Data {
		plane := i / (24 * 24)
		src.Labels[i] = uint16(plane)
		src.Data[i] = float32(plane)
		if plane == 4 {
			src.Data[i] = 4 + float32(i%24)/100
		}
	}
	a := augmenter(t, 1, augment.Step{Spatial: &augment.Spatial{Elastic: &augment.Elastic{Probability: 1, Spacing: 12, Magnitude: augment.Range{3, 3}}}})
	bent := false
	for step := range uint64(10) {
		dst := augment.NewPatch(1, [3]int{1, 16, 16}, true)
		if err := a.Sample(t.Context(), augment.Key{Step: step}, src, [3]int{4, 4, 4}, dst); err != nil {
			t.Fatal(err)
		}
		for i, v := range dst.Data {
			if v < 4 || v >= 4.24 || dst.Labels[i] != 4 {
				t.Fatalf("step %d, voxel %d: %g, label %d of another slice", step, i, v, dst.Labels[i])
			}
			bent = bent || math.Abs(float64(v)-(4+float64(i%16+4)/100)) > 1e-3
		}
	}
	if !bent {
		t.Error("nothing was bent")
	}
}
