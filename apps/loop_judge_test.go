package apps

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/ort/orttest"
	"github.com/voxloop/voxloop/internal/phantom"
	"github.com/voxloop/voxloop/internal/testkit"
	proof "github.com/voxloop/voxloop/trainers/gate"
	"github.com/voxloop/voxloop/trainers/trainertest"
)

// court is an app that judges what is sent to it on six held-out phantoms.
func court(t *testing.T, change func(*Options)) *school {
	rt := orttest.Runtime(t)
	return openSchool(t, phantoms(t, 12, 12), trainertest.Script{}, func(o *Options) {
		o.Engine, o.Device = nil, ort.CPU
		serveStarting(t, o)
		o.Runtime = func(context.Context) (*ort.Runtime, error) { return rt, nil }
		o.Versions.Policy = map[infer.Origin]Policy{infer.OriginPut: PublishBetter}
		o.Loop.HoldOut = HoldOutOptions{Share: 0.01, Least: 6}
		if change != nil {
			change(o)
		}
	})
}

// startingNetwork is the file of the shared folder's starting network: it finds
// both parts of phantoms, whatever model the app ships, and drops nothing.
func startingNetwork(t testing.TB) []byte {
	t.Helper()
	return read(t, testkit.Shared(t, "models", "hippocampus", infer.NetworkFile))
}

// serveStarting puts it into the app of openSchool.
func serveStarting(t testing.TB, o *Options) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(o.Dir, "hippocampus", infer.NetworkFile), startingNetwork(t), 0o600); err != nil {
		t.Fatal(err)
	}
}

// starting is the starting network.
func starting(t testing.TB) *onnx.Model {
	t.Helper()
	data := startingNetwork(t)
	m, err := onnx.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// biased is the starting network with something added to the scores of
// background, anterior and posterior.
func biased(t testing.TB, add ...float32) *onnx.Model {
	t.Helper()
	m := starting(t)
	for _, x := range slices.Backward(m.Graph.Initializers) {
		f, err := x.Float32()
		if err != nil || !slices.Equal(x.Dims, []int64{3}) {
			continue
		}
		f = slices.Clone(f)
		for i := range f {
			f[i] += add[i]
		}
		m.Graph.SetInitializer(onnx.NewFloat32(x.Name, x.Dims, f))
		return m
	}
	t.Fatal("the network has no bias of three channels")
	return nil
}

// slowed puts convolutions of 1 between the network and its output: the
// scores stay.
func slowed(t testing.TB, layers int) *onnx.Model {
	t.Helper()
	m := starting(t)
	out := m.Graph.Outputs[0].Name
	for _, n := range m.Graph.Nodes {
		for i, o := range n.Outputs {
			if o == out {
				n.Outputs[i] = "before0"
			}
		}
	}
	w := make([]float32, 3*3*27)
	for c := range 3 {
		w[(c*3+c)*27+13] = 1
	}
	m.AddInitializer(onnx.NewFloat32("one", []int64{3, 3, 3, 3, 3}, w))
	for i := range layers {
		to := "before" + strconv.Itoa(i+1)
		if i == layers-1 {
			to = out
		}
		m.AddNode("Conv", []string{"before" + strconv.Itoa(i), "one"}, []string{to}, onnx.IntsAttr("pads", 1, 1, 1, 1, 1, 1))
	}
	return m
}

// widened computes a sum of many channels of 0 beside its scores.
func widened(t testing.TB, channels int64) *onnx.Model {
	t.Helper()
	m := slowed(t, 1)
	n := m.Graph.Nodes[len(m.Graph.Nodes)-1]
	out := n.Outputs[0]
	n.Outputs[0] = "narrow"
	m.AddInitializer(onnx.NewFloat32("wide", []int64{channels, 3, 1, 1, 1}, make([]float32, 3*channels)))
	m.AddInitializer(onnx.NewFloat32("back", []int64{3, channels, 1, 1, 1}, make([]float32, 3*channels)))
	m.AddNode("Conv", []string{"narrow", "wide"}, []string{"many"})
	m.AddNode("Conv", []string{"many", "back"}, []string{"none"})
	m.AddNode("Add", []string{"narrow", "none"}, []string{out})
	return m
}

func (s *school) offer(m *onnx.Model) (v infer.Version, published bool, err error) {
	s.t.Helper()
	u := &Upload{Name: infer.NetworkFile, Path: filepath.Join(s.t.TempDir(), infer.NetworkFile)}
	if err := os.WriteFile(u.Path, m.Bytes(), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return s.PutModel(s.t.Context(), "hippocampus", map[string]*Upload{infer.NetworkFile: u}, "test")
}

func (s *school) serve(m *onnx.Model) {
	s.t.Helper()
	v, _, err := s.offer(m)
	if err == nil {
		_, err = s.PublishModel(s.t.Context(), "hippocampus", v.ID, infer.Cause{Origin: infer.OriginOperator})
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// TestJudgeRefuses sends candidates with one thing wrong each; the reason names
// it, and what serves stays.
func TestJudgeRefuses(t *testing.T) {
	nan := float32(math.NaN())
	s := court(t, nil)
	s.serve(biased(t, 0, -12, 0)) // misses the anterior part
	before, _ := s.engine.Model("hippocampus")
	for _, tt := range []struct {
		name      string
		candidate *onnx.Model
		want      []string // of the reason
		fails     string   // of the error, where a client is told of one
	}{
		{"one class worse, the mean better", biased(t, 0, 0, -6), []string{"no class worse: posterior: Dice changed by -0."}, ""},
		{"NaN", biased(t, 0, nan, 0), []string{"the candidate runs:", "no finite numbers"}, "no finite numbers"},
		{"slow", slowed(t, 120), []string{"not slower: an inference takes"}, ""},
		{"large", widened(t, 100), []string{"not too much memory: an inference takes", "allowed 2 times"}, ""},
	} {
		v, published, err := s.offer(tt.candidate)
		if published || (err != nil) != (tt.fails != "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
			t.Errorf("%s: published %v, %v", tt.name, published, err)
		}
		j, ok := s.LastJudgement("hippocampus")
		if !ok || err == nil && j.Version != v.ID || j.Verdict.Pass {
			t.Fatalf("%s: %+v", tt.name, j.Verdict)
		}
		for _, w := range tt.want {
			if !strings.Contains(j.Verdict.Reason, w) {
				t.Errorf("%s: %s", tt.name, j.Verdict.Reason)
			}
		}
		if now, _ := s.engine.Model("hippocampus"); now.Version != before.Version {
			t.Errorf("%s is in service", tt.name)
		}
		if tt.name[0] == 'o' && j.Verdict.Mean.Change <= 0.01 {
			t.Errorf("the mean is to be better for the proof: %+v", j.Verdict.Mean)
		}
		if e := j.Verdict.ECE; tt.name == "slow" && (e == nil || e.Cases != 6 || e.Candidate <= 0 || e.Candidate >= e.Current) {
			t.Errorf("%s: calibration %+v; the better network is to be better calibrated than one that misses a class", tt.name, e)
		}
		t.Logf("%s: %s", tt.name, j.Verdict.Reason)
	}
	if _, published, err := s.offer(starting(t)); !published || err != nil {
		j, _ := s.LastJudgement("hippocampus")
		t.Errorf("the better one: published %v, %v, %+v", published, err, j.Verdict)
	}
}

// TestJudgeWhileLabelsChange deletes one held-out label and replaces another
// after judging has begun: both models are compared with the labels as they
// were.
func TestJudgeWhileLabelsChange(t *testing.T) {
	s := court(t, nil)
	cases, err := s.loop.holdOutCases(t.Context())
	if err != nil || len(cases) != 6 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	kept, done, err := s.loop.fixed(cases)
	if err != nil {
		t.Fatal(err)
	}
	fsys, _, _ := s.engine.(versioner).Folder("hippocampus")
	run := func() ([]proof.Case, []proof.Case) {
		t.Helper()
		d, err := s.loop.openDuel(t.Context(), fsys, fsys, func() error { return nil }, kept)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.run(t.Context(), kept); err != nil {
			t.Fatal(err)
		}
		if err := d.close(); err != nil {
			t.Fatal(err)
		}
		return d.candidate.cases, d.current.cases
	}
	before, _ := run()
	if err := s.store.RemoveLabel(t.Context(), cases[0].ID, "final"); err != nil {
		t.Fatal(err)
	}
	other := &Upload{Name: "x.nii.gz", Path: filepath.Join(t.TempDir(), "x.nii.gz")}
	h, err := codec.ReadGrid(t.Context(), cases[1].Images[0])
	if err != nil {
		t.Fatal(err)
	}
	writeLabel(t, other.Path, h.Grid, map[int]uint16{0: 1})
	if _, err := s.SaveLabel(t.Context(), cases[1].ID, "", nil, other); err != nil {
		t.Fatal(err)
	}
	a, b := run()
	if len(a) != 6 || len(b) != 6 {
		t.Fatalf("%d and %d cases", len(a), len(b))
	}
	for i := range a {
		if a[i].Error != "" || a[i].Classes["anterior"].Dice != before[i].Classes["anterior"].Dice || a[i].Classes["anterior"].Dice != b[i].Classes["anterior"].Dice {
			t.Errorf("%s: %+v, %+v before, %+v in service", a[i].ID, a[i], before[i], b[i])
		}
	}
	done()
	if left, err := filepath.Glob(filepath.Join(s.tmp, "judge-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := os.Remove(filepath.Join(s.opts.Studies, phantom.Name(1))); err != nil {
		t.Fatal(err)
	}
	if cases, err = s.loop.holdOutCases(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone := slices.Clone(cases[1:])
	gone[0].Images = []string{filepath.Join(s.opts.Studies, "gone.nii.gz")}
	if kept, done, err = s.loop.fixed(gone); err != nil {
		t.Fatal(err)
	}
	defer done()
	if a, b = run(); len(a) != len(gone)-1 || len(b) != len(gone)-1 {
		t.Errorf("a case without its image judges: %d and %d cases of %d", len(a), len(b), len(gone))
	}
}
