package apps

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/ort/orttest"
	"github.com/voxloop/voxloop/strategies"
)

// TestSelectionWithTheStartingModel scores phantoms with the real network, by
// all mirrorings: the device is at work nearly all the time, and what is handed
// out says where to look.
func TestSelectionWithTheStartingModel(t *testing.T) {
	rt := orttest.Runtime(t)
	const n = 6
	studies := phantoms(t, n, 0)
	s := openSchoolWith(t, studies, nil, func(o *Options) {
		o.Runtime = func(context.Context) (*ort.Runtime, error) { return rt, nil }
		o.Selection = SelectionOptions{Lease: time.Hour, ColdStart: -1}
	})
	if err := s.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := s.Tasks().Scoring.Do(t.Context(), ordered.Of("method", "hippocampus_epistemic"), false)
	if err != nil {
		t.Fatal(err)
	}
	v, _ := got.(*ordered.Map).Get("latency")
	wall, _ := asFloat(v)
	share := number(s.selection.count.seconds) / wall
	t.Logf("%d images of 8 passes: %.2f s, the device at work %.1f %% of the time", n, wall, 100*share)
	if share < 0.85 || share > 1.01 {
		t.Errorf("the device was at work %.1f %% of the time, want at least 85 %% of so short a run", 100*share)
	}
	o := s.next(t, "tta", "reader")
	x := o.Sub("explanation")
	list, _ := x.Get("regions")
	regions, ok := list.([]strategies.Region)
	if !ok || len(regions) == 0 || x.Sub("parts").Len() < 4 {
		t.Fatalf("explanation %v", x.Keys())
	}
	h, err := codec.ReadGrid(t.Context(), filepath.Join(studies, o.String("id")+".nii.gz"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range regions {
		for d := range 3 {
			if r.Min[d] < 0 || r.Max[d] >= h.Grid.Size[d] || r.Peak[d] < r.Min[d] || r.Peak[d] > r.Max[d] || r.Size[d] <= 0 {
				t.Errorf("a region %+v of an image of %v", r, h.Grid.Size)
			}
		}
		if r.World == nil {
			t.Errorf("a region %+v without its place", r)
		}
	}
	ranking, err := s.SelectionRanking("variance", 3)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := ranking.Get("images")
	if l := all.([]*ordered.Map); len(l) != 3 {
		t.Errorf("%d ranked", len(l))
	}
}
