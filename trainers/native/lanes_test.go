package native

import (
	"context"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/testkit"
)

// TestLanesAreOneBatch: a batch cut into lanes makes the step of a whole one.
func TestLanesAreOneBatch(t *testing.T) {
	for _, o := range []Options{
		{},
		{Loss: Combined{{1, Dice{NoBackground: true}}, {2, Focal{Gamma: 2}}}, Optimizer: SGD{Momentum: 0.9, Nesterov: true}},
		{Loss: Tversky{Alpha: 0.3, Beta: 0.7}, ClipNorm: 1e-2, Average: Averaging{Decay: 0.9}},
		{Loss: GeneralizedDice{}, Optimizer: SGD{}, Scaling: Scaling{Initial: 8}},
	} {
		whole := open(t, tiny(), o)
		o.Lanes = 2
		lanes := open(t, tiny(), o)
		sameWay(t, o.Loss, whole, lanes)
	}
}

// TestLanesAreBatchesInARow: whichever part is ready first, the bits are those
// of the parts one after another, dropout included.
func TestLanesAreBatchesInARow(t *testing.T) {
	o := Options{Dropout: Dropout{Seed: 7}, Accumulate: 2, Lanes: 2}
	beside := open(t, dropping(), o)
	row := open(t, dropping(), Options{Shape: singleShape, Dropout: o.Dropout, Accumulate: 4})
	x, labels := batch()
	x, labels = slices.Concat(x, x), slices.Concat(labels, labels)
	bad := slices.Clone(x)
	bad[len(x)/2+3] = float32(math.Inf(1))
	for i := range 20 {
		for _, s := range []*Step{beside, row} {
			if i == 5 { // a step that does not count leaves nothing behind
				if _, err := s.Run(t.Context(), bad, labels, 0.01); err == nil {
					t.Fatal("an infinite voxel is accepted")
				}
			}
			if _, err := s.Run(t.Context(), x, labels, 0.01); err != nil {
				t.Fatal(err)
			}
		}
		a, b := beside.State().Vectors, row.State().Vectors
		for name, v := range a {
			if !slices.Equal(v, b[name]) {
				t.Fatalf("step %d: %s differs", i, name)
			}
		}
	}
}

// TestLanesStop: a step that is stopped changes nothing, and the next one works.
func TestLanesStop(t *testing.T) {
	s := open(t, tiny(), Options{Lanes: 2})
	before := s.State()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	x, labels := batch()
	if _, err := s.Run(ctx, x, labels, 0.01); fault.KindOf(err) != fault.Canceled {
		t.Fatalf("%v", err)
	}
	if after := s.State(); after.Done != 0 || !slices.Equal(after.Vectors[vecWeights], before.Vectors[vecWeights]) {
		t.Error("a stopped step counts")
	}
	steps(t, s, 1)
}

// TestLanesFor: as many lanes as threads can work on, and none where samples
// count together.
func TestLanesFor(t *testing.T) {
	pair := []int64{2, 1, 8, 6}
	for _, c := range []struct {
		o       Options
		threads int
		want    int
	}{
		{Options{Shape: pair}, 2, 2},
		{Options{Shape: pair}, 16, 2},
		{Options{Shape: []int64{6, 1, 8, 6}}, 4, 3},
		{Options{Shape: []int64{5, 1, 8, 6}}, 4, 1},
		{Options{Shape: []int64{1, 1, 8, 6}}, 4, 1},
		{Options{Shape: []int64{4, 1, 8, 6}}, 1, 1},
		{Options{Shape: pair, IgnoreLabel: 3}, 2, 1},
		{Options{Shape: pair, BatchStatistics: true}, 2, 1},
		{Options{Shape: pair, Gradients: true}, 2, 1},
		{Options{Shape: pair, Loss: TopK{}}, 2, 1},
		{Options{Shape: pair, Loss: Dice{Batch: true}}, 2, 1},
		{Options{Shape: pair, Loss: Dice{Sum: true}}, 2, 1},
		{Options{Shape: pair, Loss: MaskedDice{Batch: true}}, 2, 1},
		{Options{Shape: pair, Loss: Tversky{Batch: true}}, 2, 1},
		{Options{Shape: pair, Loss: GeneralizedDice{Batch: true}}, 2, 1},
		{Options{Shape: pair, Loss: Combined{{1, Dice{}}, {1, CrossEntropy{Weights: []float64{1, 2, 3}}}}}, 2, 1},
	} {
		if got := c.o.LanesFor(c.threads); got != c.want {
			t.Errorf("%+v on %d threads: %d lanes, want %d", c.o, c.threads, got, c.want)
		}
	}
	for _, o := range []Options{
		{Shape: pair, Lanes: -1},
		{Shape: pair, Lanes: 3},
		{Shape: pair, Lanes: 2, IgnoreLabel: 2},
		{Shape: pair, Lanes: 2, Loss: TopK{}},
	} {
		if _, err := Compile(tiny(), o); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// BenchmarkLanes times a step of two small patches on two threads, whole and in
// lanes.
func BenchmarkLanes(b *testing.B) {
	m := parseModel(b, filepath.Join(testkit.Shared(b, "golden", "networks"), "unet_res2_prelu", "model.onnx"))
	for _, shape := range [][]int64{{2, 1, 32, 48, 32}, {2, 1, 40, 56, 40}} {
		for name, lanes := range map[string]int{"whole": 1, "lanes": 2} {
			b.Run(name+shapeName(shape), func(b *testing.B) {
				benchStep(b, m, Options{Shape: shape, Lanes: lanes}, 2)
			})
		}
	}
}
