package apps

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/ort/orttest"
	"github.com/voxloop/voxloop/internal/phantom"
)

// An inference that asks for it tells how sure the model is, and sends the voxel
// map in place of the label; the scores are part of its params.
func TestInferUncertainty(t *testing.T) {
	rt := orttest.Runtime(t)
	studies := phantoms(t, 1, 0)
	s := openSchoolWith(t, studies, nil, func(o *Options) {
		o.Runtime = func(context.Context) (*ort.Runtime, error) { return rt, nil }
		serveStarting(t, o)
	})
	if err := s.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	id := strings.TrimSuffix(phantom.Name(1), ".nii.gz")
	ask := func(params ...any) (*InferResult, error) {
		return s.Infer(t.Context(), InferRequest{Model: "hippocampus", Image: id, Params: ordered.Of(params...)})
	}
	res, err := ask("uncertainty", "tta", "flips", []any{"", "x"}, "map", "entropy", "result_extension", ".seg.nrrd")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	v, _ := res.Params.Get("uncertainty")
	u, ok := v.(*Uncertainty)
	if !ok || u.Passes != 2 || u.Sampling != "tta" || !(u.Scores["entropy"] > 0) || len(u.Regions) == 0 || u.Regions[0].World == nil {
		t.Fatalf("uncertainty %+v", v)
	}
	text, err := ordered.Marshal(res.Params)
	if err != nil || !strings.Contains(string(text), `"volume_mm3"`) {
		t.Errorf("%s, %v", text, err)
	}
	m, err := codec.Read(t.Context(), res.File.Path, codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := codec.ReadGrid(t.Context(), filepath.Join(studies, id+".nii.gz"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(res.File.Path, ".nrrd") || strings.HasSuffix(res.File.Path, ".seg.nrrd") || m.Size != h.Grid.Size {
		t.Errorf("a map of %v in %s", m.Size, res.File.Path)
	}
	peak := u.Regions[0].Peak
	if e := m.At(peak[0], peak[1], peak[2], 0); !(e > 0.3 && e < 1.1) {
		t.Errorf("entropy %g at the peak %v of a region", e, peak)
	}
	label, err := ask("uncertainty", "single")
	if err != nil {
		t.Fatal(err)
	}
	defer label.Close()
	plain, err := ask()
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, ok := plain.Params.Get("uncertainty"); ok {
		t.Error("an inference that does not ask is told")
	}
	if a, b := labelsOf(t, label), labelsOf(t, plain); a.Max() == 0 || differing(a, b) > 1 {
		t.Errorf("one pass gives another label: %d voxels differ", differing(a, b))
	}
	for _, c := range []struct {
		params []any
		kind   fault.Kind
		says   string
	}{
		{[]any{"uncertainty", "mcc"}, fault.Missing, "params.uncertainty"},
		{[]any{"uncertainty", "mc", "passes", 1.5}, fault.Missing, "params.passes"},
		{[]any{"uncertainty", "tta", "map", "x"}, fault.Missing, "params.map"},
		{[]any{"uncertainty", "tta", "seed", -1.0}, fault.Missing, "params.seed"},
		{[]any{"uncertainty", "tta", "flips", "x"}, fault.Missing, "params.flips"},
		{[]any{"uncertainty", "tta", "flips", []any{"w"}}, fault.Invalid, "axes"},
		{[]any{"uncertainty", "mc"}, fault.Invalid, "no dropout"},
		{[]any{"uncertainty", "ensemble"}, fault.Invalid, "no ensemble"},
	} {
		if _, err := ask(c.params...); fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v", c.params, err)
		}
	}
}

func labelsOf(t *testing.T, r *InferResult) *imaging.LabelMap {
	t.Helper()
	v, err := codec.Read(t.Context(), r.File.Path, codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := imaging.LabelMapOf(v)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func differing(a, b *imaging.LabelMap) (n int) {
	for i, v := range a.Data {
		if b.Data[i] != v {
			n++
		}
	}
	return n
}
