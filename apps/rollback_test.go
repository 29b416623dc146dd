package apps

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/phantom"
)

// labelled returns labels with a Dice each.
func labelled(dice ...float64) (out []accepted) {
	for _, d := range dice {
		out = append(out, accepted{Dice: d})
	}
	return out
}

func failures(n, of int) []bool {
	return append(slices.Repeat([]bool{true}, n), slices.Repeat([]bool{false}, of-n)...)
}

func TestWhatIsHeldAgainstAVersion(t *testing.T) {
	o, err := RollbackOptions{Labels: 3}.check()
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		now, before usage
		watched     bool
		why         string
	}{
		"nothing":                      {usage{Failed: failures(0, 50), Accepted: labelled(0.9, 0.9, 0.9)}, usage{Failed: failures(0, 50), Accepted: labelled(0.9, 0.9, 0.9)}, true, ""},
		"errors":                       {usage{Failed: failures(3, 10)}, usage{Failed: failures(0, 50)}, true, "30 % of 10 inferences failed"},
		"errors, nothing known before": {usage{Failed: failures(3, 10)}, usage{}, true, "30 % of 10"},
		"as many errors as allowed":    {usage{Failed: failures(2, 10)}, usage{}, true, ""},
		"too few to tell":              {usage{Failed: failures(9, 9)}, usage{}, true, ""},
		"as bad before":                {usage{Failed: failures(3, 10)}, usage{Failed: failures(3, 10)}, true, ""},
		"nothing to go back to":        {usage{Failed: failures(10, 10)}, usage{}, false, ""},
		"worse proposals":              {usage{Accepted: labelled(0.7, 0.6, 0.8)}, usage{Accepted: labelled(0.85, 0.85, 0.85)}, true, "mean Dice of 0.700 with them"},
		"a little worse":               {usage{Accepted: labelled(0.76, 0.76, 0.76)}, usage{Accepted: labelled(0.85, 0.85, 0.85)}, true, ""},
		"too few labels":               {usage{Accepted: labelled(0.1, 0.1)}, usage{Accepted: labelled(0.85, 0.85, 0.85)}, true, ""},
		"too few labels before":        {usage{Accepted: labelled(0.1, 0.1, 0.1)}, usage{Accepted: labelled(0.85, 0.85)}, true, ""},
	} {
		m := &watched{Version: "b", Against: "a", Usage: map[string]*usage{"a": &tt.before, "b": &tt.now}}
		if !tt.watched {
			m.Against = ""
		}
		why := (&watch{o: o}).fault(m)
		if tt.why == "" && why != "" || !strings.Contains(why, tt.why) {
			t.Errorf("%s: %q, want %q", name, why, tt.why)
		}
	}
}

func TestRuns(t *testing.T) {
	l := imaging.NewLabelMap(imaging.Grid{Size: [3]int{3, 4, 5}, Affine: imaging.Identity()})
	for i := range l.Data {
		l.Data[i] = uint16([]int{0, 0, 7, 7, 7, 300}[i%6])
	}
	r := runsOf(l)
	if got := r.labels(); !slices.Equal(got.Data, l.Data) || got.Grid != l.Grid || len(r.values) != 30 {
		t.Errorf("%d runs: %v", len(r.values), got.Data)
	}
}

// work infers on images and saves their true labels, as a person would.
func (s *school) work(images ...int) {
	s.t.Helper()
	for _, i := range images {
		id := strings.TrimSuffix(phantom.Name(i), ".nii.gz")
		res, err := s.Infer(s.t.Context(), InferRequest{Model: "hippocampus", Image: id})
		if err != nil {
			s.t.Fatal(err)
		}
		res.Close()
		u := &Upload{Name: phantom.Name(i), Path: filepath.Join(s.t.TempDir(), "label.nii.gz")}
		data, err := os.ReadFile(filepath.Join(s.opts.Studies, "labels", "final", phantom.Name(i)))
		if err == nil {
			err = os.WriteFile(u.Path, data, 0o600)
		}
		if err == nil {
			_, err = s.SaveLabel(s.t.Context(), id, "", nil, u)
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *school) eventually(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("not %s:\n%s", what, s.log.String())
		}
	}
}

// known is how many labels are known of a version.
func (s *school) known(version string) int {
	s.loop.watch.mu.Lock()
	defer s.loop.watch.mu.Unlock()
	if u := s.loop.watch.of("hippocampus").Usage[version]; u != nil {
		return len(u.Accepted)
	}
	return 0
}

// TestRollbackByItself puts versions into service whose proposals people have to
// correct much, or that fail: the version before comes back, and they stay out
// until somebody wants them.
func TestRollbackByItself(t *testing.T) {
	s := court(t, func(o *Options) {
		o.Versions.Policy = map[infer.Origin]Policy{infer.OriginPut: PublishAlways}
		o.Loop.Rollback = RollbackOptions{Labels: 3}
	})
	own := s.serving("hippocampus")
	s.work(1, 2, 3)
	s.eventually("compared", func() bool { return s.known(own) == 3 })
	worse := biased(t, 0, -12, 0)
	bad, published, err := s.offer(worse)
	if err != nil || !published || s.serving("hippocampus") != bad.ID {
		t.Fatalf("published %v, %v", published, err)
	}
	s.work(4, 5)
	s.eventually("compared", func() bool { return s.known(bad.ID) == 2 })
	if s.serving("hippocampus") != bad.ID {
		t.Fatal("two labels were enough")
	}
	s.work(6)
	s.eventually("rolled back", func() bool { return s.serving("hippocampus") == own })
	var history []infer.Swap
	s.eventually("written down", func() bool {
		if _, history, err = s.ModelVersions("hippocampus"); err != nil {
			t.Fatal(err)
		}
		return len(history) == 2
	})
	if last := history[len(history)-1]; last.Origin != infer.OriginRollback || !strings.HasPrefix(last.Reason, "by itself: labels saved after its proposals have a mean Dice of 0.4") {
		t.Errorf("%+v", last)
	}
	if _, published, err := s.offer(worse); published || err != nil {
		t.Errorf("the version that was taken out: published %v, %v", published, err)
	}
	again := openWatch(s.App, s.loop.dir, s.loop.rules.o.Rollback)
	if why := again.withdrawn("hippocampus", bad.ID); why == "" {
		t.Error("a restart forgets which version was taken out")
	}
	if _, err := s.PublishModel(t.Context(), "hippocampus", bad.ID, infer.Cause{Origin: infer.OriginOperator, Reason: "I know better"}); err != nil || s.serving("hippocampus") != bad.ID {
		t.Fatalf("a person's wish: %v", err)
	}
	if why := s.loop.watch.withdrawn("hippocampus", bad.ID); why != "" {
		t.Errorf("a person's wish counts for nothing: %s", why)
	}
	for i := range 10 {
		err := fault.New(fault.Internal, "the network failed")
		if i%2 == 0 {
			err = fault.New(fault.Invalid, "a strange image") // is not the version's fault
		}
		s.loop.inferred(infer.Info{Name: "hippocampus", Version: bad.ID}, err, nil)
		s.loop.inferred(infer.Info{Name: "hippocampus", Version: own}, nil, nil)
	}
	if s.serving("hippocampus") != bad.ID {
		t.Error("five failures were enough")
	}
	for range 5 {
		s.loop.inferred(infer.Info{Name: "hippocampus", Version: bad.ID}, fault.New(fault.Internal, "the network failed"), nil)
	}
	s.eventually("rolled back", func() bool { return s.serving("hippocampus") == own })
}

// TestProposalsAreBounded remembers what fits, the newest.
func TestProposalsAreBounded(t *testing.T) {
	var found, compared int
	p := newProposals(&App{log: slog.New(slog.DiscardHandler)}, func(proposed) { found++ }, func(string, string, accepted) { compared++ })
	l := imaging.NewLabelMap(imaging.Grid{Size: [3]int{256, 256, 64}, Affine: imaging.Identity()})
	for i := range l.Data {
		l.Data[i] = uint16(i % 2) // the worst case: 6 bytes per voxel
	}
	for _, id := range []string{"a", "b", "c", "b"} {
		p.remember(answer{proposed: proposed{image: id}, full: l})
	}
	if p.bytes > proposalsBytes || len(p.kept) != 2 || p.kept["b"].labels == nil || p.kept["c"].labels == nil || len(p.order) != 2 || found != 4 {
		t.Errorf("%d bytes, %d kept, order %v", p.bytes, len(p.kept), p.order)
	}
}
