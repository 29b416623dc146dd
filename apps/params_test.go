package apps

import (
	"strings"
	"testing"
	"time"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/ordered"
)

func parse(t *testing.T, text string) *ordered.Map {
	t.Helper()
	m, err := ordered.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestParseWishes(t *testing.T) {
	seg := infer.Info{Type: "segmentation", Labels: []infer.Label{{Name: "spleen", Value: 1}}}
	w, err := parseWishes(parse(t, `{"result_extension":"NRRD","result_dtype":"uint16","result_compress":"true","save_label":"false","label_tag":"",
		"restore_label_idx":1,"largest_cc":"0","sw_overlap":"0.5","device":"NVIDIA","roi_size":[1],"foreground":"nonsense","client_id":null}`), seg)
	if err != nil {
		t.Fatal(err)
	}
	if w.ext != ".nrrd" || w.dtype != imaging.Uint16 || !w.compress || w.save || w.tag != "original" || !w.restore || !w.write ||
		w.options.Overlap != 0.5 || w.options.LargestComponent == nil || *w.options.LargestComponent || w.guidance != nil {
		t.Errorf("%+v", w)
	}
	if w, err = parseWishes(nil, seg); err != nil || !w.write || w.save || w.restore || w.options.LargestComponent != nil {
		t.Errorf("no params: %+v, %v", w, err)
	}
	for _, tt := range []struct {
		text string
		kind fault.Kind
	}{
		{`{"result_extension":".exe"}`, fault.Missing},
		{`{"result_extension":".nhdr"}`, fault.Missing},
		{`{"result_dtype":7}`, fault.Missing},
		{`{"sw_overlap":1}`, fault.Missing},
		{`{"label_tag":3}`, fault.Missing},
		{`{"save_label":true,"label_tag":"../x"}`, fault.Invalid},
	} {
		if _, err := parseWishes(parse(t, tt.text), seg); fault.KindOf(err) != tt.kind {
			t.Errorf("%s: %v", tt.text, err)
		}
	}
}

func TestGuidance(t *testing.T) {
	m := infer.Info{Type: "deepedit", Labels: []infer.Label{{Name: "spleen", Value: 1}, {Name: "liver", Value: 2}}}
	w, err := parseWishes(parse(t, `{"spleen":[[1,2,3],[4.6,5,6]],"liver":[],"background":[[7,8]],"label":"spleen"}`), m)
	if err != nil {
		t.Fatal(err)
	}
	if g := w.guidance; len(g) != 3 || g["spleen"][1] != [3]int{5, 5, 6} || g["background"][0] != [3]int{7, 8, 0} || len(g["liver"]) != 0 {
		t.Errorf("%v", g)
	}
	for _, bad := range []string{`{"spleen":"x"}`, `{"spleen":[[1]]}`, `{"spleen":[[1,2,3,4]]}`, `{"liver":[["a","b","c"]]}`, `{"foreground":[1,2,3]}`, `{"spleen":[[1e300,0,0]]}`} {
		if _, err := parseWishes(parse(t, bad), m); fault.KindOf(err) != fault.Missing || !strings.Contains(err.Error(), "voxel indices") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestTruthy(t *testing.T) {
	for text, want := range map[string]bool{
		`true`: true, `false`: false, `"false"`: false, `"False"`: false, `"0"`: false, `""`: false, `"no"`: false, `"true"`: true, `"1"`: true,
		`0`: false, `0.0`: false, `1`: true, `-2`: true, `null`: false, `[]`: false, `[0]`: true, `{}`: false, `{"a":0}`: true,
	} {
		v, err := ordered.ParseValue([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if truthy(v) != want {
			t.Errorf("%s is %v", text, truthy(v))
		}
	}
}

func TestRestoreValues(t *testing.T) {
	labels := []infer.Label{{Name: "c", Value: 9}, {Name: "background", Value: 0}, {Name: "a", Value: 2}, {Name: "b", Value: 300}}
	got := restoreValues(labels, false)
	if len(got) != 3 || got[2] != 1 || got[9] != 2 || got[300] != 3 {
		t.Errorf("%v", got)
	}
	if restoreValues(labels, true) != nil {
		t.Error("the manifest's values were changed")
	}
	if restoreValues([]infer.Label{{Value: 1}, {Value: 2}}, false) != nil {
		t.Error("1..N needs no change")
	}
}

func TestCentroids(t *testing.T) {
	l := imaging.NewLabelMap(imaging.Grid{Size: [3]int{4, 3, 2}, Affine: imaging.Identity()})
	set := func(x, y, z int, v uint16) { l.Data[x+4*(y+3*z)] = v }
	set(1, 0, 0, 3)
	set(2, 0, 1, 3)
	set(3, 2, 1, 3)
	set(0, 1, 1, 1)
	got, err := ordered.Marshal(centroids(l))
	if err != nil || string(got) != `{"label_1":["1","0","1","1"],"label_3":["3","2","0","0"]}` {
		t.Errorf("%s, %v", got, err)
	}
}

func TestSecondsLookLikeFloats(t *testing.T) {
	for d, want := range map[float64]string{0: "0.0", 1: "1.0", 0.126: "0.13", 14.25: "14.25", 0.004: "0.0"} {
		if got := seconds(durationOf(d), 2); string(got) != want {
			t.Errorf("%g: %s, want %s", d, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	for in, want := range map[string]string{`/a/b/c.nii.gz`: "c.nii.gz", `C:\x\y.nrrd`: "y.nrrd", "plain": "plain", "": "", `a/`: ""} {
		if got := BaseName(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
	for in, want := range map[string]string{"a.seg.nrrd": ".nrrd", "A.NII.GZ": ".nii.gz", "x.json": ".json", "1.2.3.nii": ".nii", "x.bin": ".bin"} {
		if got, err := storedExt(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"x", "", "x.nhdr", "x.a b", "x.", "x." + strings.Repeat("y", 11)} {
		if got, err := storedExt(in); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

func durationOf(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
