package augment

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/voxloop/voxloop/internal/fault"
)

// Range is the closed interval that a parameter is drawn from, uniformly.
type Range [2]float64

// Padding says what lies beyond the source of a patch.
type Padding string

// The paddings.
const (
	PadConstant Padding = "constant" // pad_value; labels: pad_label
	PadBorder   Padding = "border"   // the nearest voxel of the source
)

// Recipe is what is done to every patch: transforms in their order.
type Recipe struct {
	Padding    Padding `yaml:"padding"`   // "" (absent): constant
	PadValue   float64 `yaml:"pad_value"` // for constant: the image's value
	PadLabel   uint16  `yaml:"pad_label"` // for constant: the label, for example the one that a loss ignores
	Transforms []Step  `yaml:"transforms"`
}

// Step is one transform; exactly one field is set.
type Step struct {
	Flip          *Flip          `yaml:"flip,omitempty"`
	Rot90         *Rot90         `yaml:"rot90,omitempty"`
	Spatial       *Spatial       `yaml:"spatial,omitempty"`
	Noise         *Noise         `yaml:"noise,omitempty"`
	Rician        *Rician        `yaml:"rician,omitempty"`
	Blur          *Blur          `yaml:"blur,omitempty"`
	Gamma         *Gamma         `yaml:"gamma,omitempty"`
	Brightness    *Brightness    `yaml:"brightness,omitempty"`
	Contrast      *Contrast      `yaml:"contrast,omitempty"`
	LowResolution *LowResolution `yaml:"low_resolution,omitempty"`
	BiasField     *BiasField     `yaml:"bias_field,omitempty"`
	Ghosting      *Ghosting      `yaml:"ghosting,omitempty"`
	Spike         *Spike         `yaml:"spike,omitempty"`
	Motion        *Motion        `yaml:"motion,omitempty"`
	Style         *Style         `yaml:"style,omitempty"`
	Dropout       *Dropout       `yaml:"dropout,omitempty"`
}

// chosen returns the transform that is set and its name in a recipe; nil when
// none or several are.
func (s Step) chosen() (string, Transform) {
	var name string
	var found Transform
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		if v.Field(i).IsNil() {
			continue
		}
		if found != nil {
			return "", nil
		}
		name, _, _ = strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		found = v.Field(i).Interface().(Transform)
	}
	return name, found
}

// maxRecipe bounds a recipe's text.
const maxRecipe = 1 << 20

// ParseRecipe reads a recipe in YAML, or in JSON, which is YAML too. Unknown
// keys, a second document and what Validate refuses are Invalid.
func ParseRecipe(text []byte) (Recipe, error) {
	var r Recipe
	if len(text) > maxRecipe {
		return r, fault.New(fault.TooLarge, "the recipe has more than %d bytes", maxRecipe)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&r); err != nil {
		if errors.Is(err, io.EOF) {
			return r, fault.New(fault.Invalid, "the recipe is empty")
		}
		return r, fault.New(fault.Invalid, "the recipe cannot be used: %s", strings.Join(strings.Fields(err.Error()), " "))
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return r, fault.New(fault.Invalid, "the recipe holds more than one document")
	}
	return r, r.Validate()
}

// YAML returns the recipe's text; ParseRecipe reads it back.
func (r Recipe) YAML() ([]byte, error) { return yaml.Marshal(r) }

// Validate reports the first step that is not one transform, or whose
// parameters are out of range or without effect (Invalid), as
// "transforms[2].noise: …". A recipe without transforms only cuts patches.
func (r Recipe) Validate() error {
	switch r.Padding {
	case "", PadConstant:
	case PadBorder:
		if r.PadValue != 0 || r.PadLabel != 0 {
			return fault.New(fault.Invalid, "padding: with border, pad_value and pad_label have no effect; leave them out")
		}
	default:
		return fault.New(fault.Invalid, "padding: %q is neither constant nor border", r.Padding)
	}
	if v := float64(float32(r.PadValue)); math.IsNaN(v) || math.IsInf(v, 0) {
		return fault.New(fault.Invalid, "pad_value: %g is not a finite float32", r.PadValue)
	}
	if len(r.Transforms) > maxSteps {
		return fault.New(fault.Invalid, "transforms: %d, more than %d", len(r.Transforms), maxSteps)
	}
	for i, s := range r.Transforms {
		name, t := s.chosen()
		if t == nil {
			return fault.New(fault.Invalid, "transforms[%d]: it must name exactly one transform", i)
		}
		if err := t.validate(); err != nil {
			msg, _ := fault.Message(err)
			return fault.New(fault.Invalid, "transforms[%d].%s: %s", i, name, msg)
		}
	}
	return nil
}

// Default is a recipe like nnU-Net's for 3-D patches of normalised images:
// transforms, order, ranges and probabilities of its default trainer (Isensee
// and others, Nature Methods 2021, supplement 4, in the values of version 2).
func Default() Recipe {
	chance := func(p, channel float64) Chance { return Chance{p, channel} }
	turn := Range{-30, 30}
	return Recipe{Padding: PadConstant, Transforms: []Step{
		{Spatial: &Spatial{
			Rotate: &Rotate{Probability: 0.2, X: turn, Y: turn, Z: turn},
			Scale:  &Scale{Probability: 0.2, Factor: Range{0.7, 1.4}},
		}},
		{Noise: &Noise{Chance: chance(0.1, 0), SD: Range{0, 0.1}}},
		{Blur: &Blur{Chance: chance(0.2, 0.5), Sigma: Range{0.5, 1}}},
		{Brightness: &Brightness{Chance: chance(0.15, 0), Multiply: Range{0.75, 1.25}}},
		{Contrast: &Contrast{Chance: chance(0.15, 0), Factor: Range{0.75, 1.25}, KeepRange: true}},
		{LowResolution: &LowResolution{Chance: chance(0.25, 0.5), Zoom: Range{0.5, 1}}},
		{Gamma: &Gamma{Chance: chance(0.1, 0), Gamma: Range{0.7, 1.5}, Invert: true, RetainStats: true}},
		{Gamma: &Gamma{Chance: chance(0.3, 0), Gamma: Range{0.7, 1.5}, RetainStats: true}},
		{Flip: &Flip{X: 0.5, Y: 0.5, Z: 0.5}},
	}}
}

// Gentle is a recipe for training on few images: every second patch is turned,
// scaled or bent, a little each, and intensities follow other curves and fields
// but lose no detail. docs/benchmarks.md compares it with Default on 12 cases.
func Gentle() Recipe {
	turn := Range{-17, 17}
	return Recipe{Padding: PadConstant, Transforms: []Step{
		{Spatial: &Spatial{
			Rotate:  &Rotate{Probability: 0.5, X: turn, Y: turn, Z: turn},
			Scale:   &Scale{Probability: 0.5, Factor: Range{0.85, 1.18}, PerAxis: true},
			Elastic: &Elastic{Probability: 0.5, Spacing: 12, Magnitude: Range{0, 3}},
		}},
		{Noise: &Noise{Chance: Chance{Probability: 0.3}, SD: Range{0, 0.1}}},
		{Gamma: &Gamma{Chance: Chance{Probability: 0.3}, Gamma: Range{0.7, 1.5}}},
		{Brightness: &Brightness{Chance: Chance{Probability: 0.5}, Multiply: Range{0.85, 1.15}}},
		{BiasField: &BiasField{Chance: Chance{Probability: 0.3}, Strength: Range{0.1, 0.4}, Order: 3}},
		{Style: &Style{Chance: Chance{Probability: 0.3}, Strength: Range{0.1, 0.4}, Knots: 5}},
		{Flip: &Flip{X: 0.5, Y: 0.5, Z: 0.5}},
	}}
}

func checkProbability(p float64) error {
	if !(p > 0 && p <= 1) {
		return fault.New(fault.Invalid, "probability: %g is not above 0 and at most 1", p)
	}
	return nil
}

// check reports a range that is not ordered, not finite, or not within lo..hi.
func (r Range) check(name string, lo, hi float64) error {
	if !(r[0] <= r[1] && r[0] >= lo && r[1] <= hi) {
		return fault.New(fault.Invalid, "%s: [%g, %g] is not an ascending range within %g..%g", name, r[0], r[1], lo, hi)
	}
	return nil
}

// checkSize is check for a range of magnitudes, where 0 alone has no effect.
func (r Range) checkSize(name string, hi float64) error {
	return firstError(r.checkEffect(name, 0), r.check(name, 0, hi))
}

// checkEffect reports a range that holds the neutral value alone.
func (r Range) checkEffect(name string, neutral float64) error {
	if r == (Range{neutral, neutral}) {
		return fault.New(fault.Invalid, "%s: [%g, %g] has no effect", name, r[0], r[1])
	}
	return nil
}

// firstError returns the first error that is not nil.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// axisNames are the axes in a recipe.
var axisNames = [3]string{"x", "y", "z"}

// Axes is a choice of axes, by name; none means all.
type Axes []string

func (a Axes) check() error {
	seen := map[string]bool{}
	for _, n := range a {
		if (n != "x" && n != "y" && n != "z") || seen[n] {
			return fault.New(fault.Invalid, "axes: %q is not a choice of x, y and z", fmt.Sprint([]string(a)))
		}
		seen[n] = true
	}
	return nil
}

// draw picks one of the axes.
func (a Axes) draw(d *draws) int {
	if len(a) == 0 {
		return d.below(3)
	}
	name := a[d.below(len(a))]
	for i, n := range axisNames {
		if n == name {
			return i
		}
	}
	return 0
}
