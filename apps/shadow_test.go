package apps

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/phantom"
)

// TestShadow runs candidates beside the version in service. One that says the
// same agrees in every voxel; one that misses a class is seen to. Nothing of it is
// shown or saved, and it waits for people.
func TestShadow(t *testing.T) {
	s := court(t, func(o *Options) {
		o.Versions.Policy = map[infer.Origin]Policy{}
		o.Loop.Shadow = ShadowOptions{On: true, Cases: 3}
	})
	own := s.serving("hippocampus")
	ask := func(i int) {
		t.Helper()
		res, err := s.Infer(t.Context(), InferRequest{Model: "hippocampus", Image: strings.TrimSuffix(phantom.Name(i), ".nii.gz")})
		if err != nil || res.Version != own {
			t.Fatalf("%s answers, %s is in service: %v", res.Version, own, err)
		}
		res.Close()
	}
	if _, err := s.Shadow("hippocampus", ""); fault.KindOf(err) != fault.NotFound {
		t.Errorf("before any: %v", err)
	}
	same, published, err := s.offer(slowed(t, 1))
	if err != nil || published {
		t.Fatalf("published %v, %v", published, err)
	}
	cases := func() Shadow {
		x, err := s.Shadow("hippocampus", "")
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	if err := s.gate.enter(); err != nil { // somebody works
		t.Fatal(err)
	}
	ask(1)
	time.Sleep(200 * time.Millisecond)
	if n := len(cases().Cases); n != 0 {
		t.Errorf("%d cases while somebody works", n)
	}
	s.gate.leave()
	s.eventually("seen", func() bool { return len(cases().Cases) == 1 })
	ask(1) // counts once
	ask(2)
	s.eventually("seen", func() bool { return len(cases().Cases) == 2 })
	ask(3)
	s.eventually("seen enough", func() bool { return !cases().Running })
	x := cases()
	if x.Version != same.ID || x.Against != own || len(x.Cases) != 3 || x.Why != "it has been seen on enough cases" {
		t.Errorf("%+v", x)
	}
	for _, c := range x.Cases {
		if c.Error != "" || c.Mean != 1 || c.Dice["anterior"] != 1 || c.Dice["posterior"] != 1 || c.Seconds <= 0 {
			t.Errorf("a network that says the same: %+v", c)
		}
	}
	other, _, err := s.offer(biased(t, 0, -12, 0))
	if err != nil {
		t.Fatal(err)
	}
	ask(1)
	s.eventually("seen", func() bool { return len(cases().Cases) == 1 })
	if c := cases().Cases[0]; cases().Version != other.ID || c.Dice["anterior"] > 0.8 || c.Dice["posterior"] < 0.8 || math.Abs(c.Mean-(c.Dice["anterior"]+c.Dice["posterior"])/2) > 1e-12 {
		t.Errorf("%+v", c)
	}
	if v, _ := s.LoopStatus().Sub("shadow").Sub("hippocampus").Get("summary"); v.(*ShadowSummary).Cases != 1 || !v.(*ShadowSummary).Running {
		t.Errorf("status %+v", v)
	}
	if err := s.EndShadow("hippocampus"); err != nil {
		t.Fatal(err)
	}
	if err := s.EndShadow("hippocampus"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("none runs: %v", err)
	}
	if x, err := s.BeginShadow(t.Context(), "hippocampus", other.ID[:8]); err != nil || len(x.Cases) != 1 {
		t.Errorf("it begins where it ended: %+v, %v", x, err)
	}
	if _, err := s.BeginShadow(t.Context(), "hippocampus", own); fault.KindOf(err) != fault.Conflict {
		t.Errorf("the version in service: %v", err)
	}
	if _, err := s.PublishModel(t.Context(), "hippocampus", other.ID, infer.Cause{Origin: infer.OriginOperator}); err != nil {
		t.Fatal(err)
	}
	if x := cases(); x.Running || !strings.Contains(x.Why, "went into service") {
		t.Errorf("after a swap: %+v", x)
	}
}
