package infer

import (
	"math"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/ort/orttest"
)

// TestRunAgainst has a network whose scores are x and 1-x, on images of 0 and 1:
// every decision has the probability e/(1+e), and the error is how far the share
// of right ones is from that.
func TestRunAgainst(t *testing.T) {
	rt := orttest.Runtime(t)
	p, err := OpenPipeline(fstest.MapFS{ManifestFile: {Data: []byte(smallManifest)}, NetworkFile: {Data: tinyNetwork()}}, PipelineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := p.Evaluator(t.Context(), rt, p.Network(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	in := tinyInput() // 9×10×11 voxels: 0 1 0 1 … along x; label 1 where 0
	plain, err := e.Run(t.Context(), in, Options{})
	if err != nil {
		t.Fatal(err)
	}
	sure := math.E / (1 + math.E)
	for name, tt := range map[string]struct {
		change func(l *imaging.LabelMap)
		want   float64 // share of right ones; negative: nothing to say
	}{
		"all right":                        {func(*imaging.LabelMap) {}, 1},
		"a tenth of the label missed":      {func(l *imaging.LabelMap) { dropPlane(l) }, 0.9},
		"nothing is labelled":              {func(l *imaging.LabelMap) { clear(l.Data) }, 0},
		"labelled where nothing was found": {func(l *imaging.LabelMap) { fill(l) }, 5.0 / 9},
		"an unknown label":                 {func(l *imaging.LabelMap) { l.Data[0] = 77 }, -1},
	} {
		truth := imaging.NewLabelMap(plain.Grid)
		copy(truth.Data, plain.Data)
		tt.change(truth)
		found, ece, err := e.RunAgainst(t.Context(), in, truth, Options{})
		if err != nil || !slices.Equal(found.Data, plain.Data) {
			t.Fatalf("%s: %v, or another label map than without the truth", name, err)
		}
		switch {
		case tt.want < 0 && ece != nil:
			t.Errorf("%s: %g", name, *ece)
		case tt.want >= 0 && (ece == nil || math.Abs(*ece-math.Abs(tt.want-sure)) > 1e-6):
			t.Errorf("%s: %v, want %g", name, ece, math.Abs(tt.want-sure))
		}
	}
}

// dropPlane takes the labels of one of ten rows along y away.
func dropPlane(l *imaging.LabelMap) {
	for z := range l.Size[2] {
		for x := range l.Size[0] {
			l.Data[x+l.Size[0]*(3+l.Size[1]*z)] = 0
		}
	}
}

func fill(l *imaging.LabelMap) {
	for i := range l.Data {
		l.Data[i] = 1
	}
}

func TestDecision(t *testing.T) {
	s := &scores{channels: 3, n: 2, sum: []float32{0, 2, 1, 6, 2, 4}, weight: []float32{1, 2}}
	if c, p := s.decision(0); c != 2 || math.Abs(p-math.Exp(2)/(1+math.E+math.Exp(2))) > 1e-12 {
		t.Errorf("class %d with %g", c, p)
	}
	if c, p := s.decision(1); c != 1 || math.Abs(p-math.Exp(3)/(math.E+math.Exp(3)+math.Exp(2))) > 1e-12 {
		t.Errorf("class %d with %g", c, p)
	}
	one := &scores{channels: 1, n: 2, sum: []float32{-2, 3}}
	if c, p := one.decision(0); c != 0 || math.Abs(p-1/(1+math.Exp(-2))) > 1e-12 {
		t.Errorf("class %d with %g", c, p)
	}
	if c, p := one.decision(1); c != 1 || math.Abs(p-1/(1+math.Exp(-3))) > 1e-12 {
		t.Errorf("class %d with %g", c, p)
	}
}
