package native

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ort/orttest"
)

// manyBatches returns n different batches of the tiny network.
func manyBatches(n int) (x, labels []float32) {
	one, classes := batch()
	for i := range n {
		for _, v := range one {
			x = append(x, v*(1+0.1*float32(i))+0.01*float32(i))
		}
		labels = append(labels, classes...)
	}
	return x, labels
}

// TestStepsOfOneCall: steps in one call are those of as many calls, bit for bit,
// whatever the optimizer, with dropout and running statistics, and when a call
// makes fewer than it may.
func TestStepsOfOneCall(t *testing.T) {
	for name, o := range map[string]Options{
		"adamw":      {},
		"sgd":        {Optimizer: SGD{Momentum: 0.9, Nesterov: true}, ClipNorm: 0.1},
		"plain":      {Optimizer: SGD{}, Frozen: []string{"last.*"}},
		"dropout":    {Dropout: Dropout{Seed: 7}},
		"scaled":     {Scaling: Scaling{Initial: 1024, Interval: 5}},
		"statistics": {BatchStatistics: true, Optimizer: RAdam{}},
	} {
		t.Run(name, func(t *testing.T) {
			m := tiny()
			switch name {
			case "dropout":
				m = dropping()
			case "statistics":
				m = withBatchNorm()
			}
			single := open(t, m, o)
			o.Repeat = 4
			loop := open(t, m, o)
			if single.Most() != 1 || loop.Most() != 4 {
				t.Fatalf("%d and %d steps per call", single.Most(), loop.Most())
			}
			x, labels := manyBatches(4)
			for _, n := range []int{4, 1, 3} {
				in, classes := len(x)/4, len(labels)/4
				var paces []Pace
				for i := range n {
					paces = append(paces, Pace{Rate: 0.01 / float64(1+i)})
				}
				got, err := loop.RunSteps(t.Context(), x[:n*in], labels[:n*classes], paces)
				if err != nil || len(got) != n {
					t.Fatalf("%d losses, %v", len(got), err)
				}
				for i := range n {
					want, err := single.RunAt(t.Context(), x[i*in:(i+1)*in], labels[i*classes:(i+1)*classes], paces[i])
					if err != nil || got[i] != want {
						t.Errorf("step %d of %d: loss %v instead of %v, %v", i, n, got[i], want, err)
					}
				}
				if single.Done() != loop.Done() || single.GradientNorm() != loop.GradientNorm() {
					t.Errorf("%d steps and norm %g instead of %d and %g", loop.Done(), loop.GradientNorm(), single.Done(), single.GradientNorm())
				}
				a, b := single.State().Vectors, loop.State().Vectors
				if len(a) != len(b) {
					t.Fatalf("%d vectors instead of %d", len(b), len(a))
				}
				for name, v := range a {
					if !slices.Equal(v, b[name]) {
						t.Errorf("after %d steps: %s differs", n, name)
					}
				}
			}
			a, err := single.Run(t.Context(), x[:len(x)/4], labels[:len(labels)/4], 0.01)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := loop.Run(t.Context(), x[:len(x)/4], labels[:len(labels)/4], 0.01); err != nil || a != b {
				t.Errorf("a single step has loss %v instead of %v, %v", b, a, err)
			}
		})
	}
}

// TestStepsOfOneCallStopAtABadOne: the steps before one that is not finite count,
// that one and those after it do not; the next call goes on from there.
func TestStepsOfOneCallStopAtABadOne(t *testing.T) {
	single, loop := open(t, tiny(), Options{}), open(t, tiny(), Options{Repeat: 5})
	x, labels := manyBatches(5)
	in, classes := len(x)/5, len(labels)/5
	paces := slices.Repeat([]Pace{{Rate: 0.01}}, 5)
	x[2*in+3] = float32(math.NaN())
	losses, err := loop.RunSteps(t.Context(), x, labels, paces)
	if !errors.Is(err, ErrNotFinite) || len(losses) != 2 || loop.Done() != 2 {
		t.Fatalf("%d losses, %d steps, %v", len(losses), loop.Done(), err)
	}
	if loss, err := loop.RunAt(t.Context(), x[2*in:3*in], labels[:classes], paces[0]); !errors.Is(err, ErrNotFinite) || !math.IsNaN(loss) {
		t.Errorf("alone: loss %g, %v", loss, err)
	}
	rest, err := loop.RunSteps(t.Context(), x[3*in:], labels[3*classes:], paces[3:])
	if err != nil {
		t.Fatal(err)
	}
	losses = append(losses, rest...)
	var want []float64
	for _, i := range []int{0, 1, 3, 4} {
		loss, err := single.RunAt(t.Context(), x[i*in:(i+1)*in], labels[i*classes:(i+1)*classes], paces[i])
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, loss)
	}
	if !slices.Equal(losses, want) || !slices.Equal(single.State().Vectors[vecWeights], loop.State().Vectors[vecWeights]) {
		t.Errorf("losses %v instead of %v, or other weights", losses, want)
	}
	high := open(t, tiny(), Options{Repeat: 3, Scaling: Scaling{Initial: math.Ldexp(1, 127), Backoff: 1. / (1 << 30)}})
	good, labels := manyBatches(3)
	for i := range labels { // far from the truth: gradients near 1
		good[i], labels[i] = 1e3*good[i], 2
	}
	if losses, err := high.RunSteps(t.Context(), good, labels, paces[:3]); !errors.Is(err, ErrOverflow) || len(losses) != 0 || high.Done() != 0 {
		t.Errorf("a scale that overflows: %v, %v", losses, err)
	}
	for range 5 {
		if losses, err = high.RunSteps(t.Context(), good, labels, paces[:3]); !errors.Is(err, ErrOverflow) {
			break
		}
	}
	if err != nil || len(losses) != 3 {
		t.Errorf("a lower scale: %v, %v", losses, err)
	}
}

func TestStepsOfOneCallRefused(t *testing.T) {
	for _, o := range []Options{
		{Repeat: -1},
		{Repeat: 2, Lanes: 2},
		{Repeat: 2, Accumulate: 2},
		{Repeat: 2, Gradients: true},
		{Repeat: 2, Average: Averaging{Decay: 0.9}},
	} {
		o.Shape = []int64{2, 1, 8, 6}
		if _, err := Compile(tiny(), o); fault.KindOf(err) != fault.Invalid || o.Repeat > 1 && o.Repeatable() {
			t.Errorf("%+v: %v, repeatable %v", o, err, o.Repeatable())
		}
	}
	s := open(t, tiny(), Options{Repeat: 2})
	x, labels := manyBatches(3)
	for _, paces := range [][]Pace{nil, make([]Pace, 3), make([]Pace, 1)} {
		if _, err := s.RunSteps(t.Context(), x, labels, paces); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%d steps for 3 batches: %v", len(paces), err)
		}
	}
	if _, err := s.RunSteps(t.Context(), x[:len(x)/3], labels[:len(labels)/3], []Pace{{Rate: 1, Momentum: 2}}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("an impossible momentum: %v", err)
	}
	plain := open(t, tiny(), Options{})
	if losses, err := plain.RunSteps(t.Context(), x[:len(x)/3], labels[:len(labels)/3], make([]Pace, 1)); err != nil || len(losses) != 1 {
		t.Errorf("one step: %v, %v", losses, err)
	}
}

// TestNetworksInOneCall: every golden network makes the same two steps in one
// call as in two.
func TestNetworksInOneCall(t *testing.T) {
	for _, v := range variants(t) {
		t.Run(v.Network+"/"+v.Variant, func(t *testing.T) {
			if testing.Short() && v.Network != "unet_res2_prelu" {
				t.Skip("short runs take one network; leave -short out for all of them")
			}
			x, labels := v.read(t, v.X).F32(t), v.read(t, v.Labels).F32(t)
			var ends [2][]float32
			for k := range ends {
				p, err := Compile(v.model(t), Options{Shape: int64s(v.read(t, v.X).Shape), BatchStatistics: v.BatchStatistics, Repeat: k + 1})
				if err != nil {
					t.Fatal(err)
				}
				s, err := p.Open(orttest.Runtime(t), 2)
				if err != nil {
					t.Fatal(err)
				}
				for range 2 / (k + 1) {
					var many, classes []float32
					for range k + 1 {
						many, classes = append(many, x...), append(classes, labels...)
					}
					if _, err := s.RunSteps(t.Context(), many, classes, slices.Repeat([]Pace{{Rate: 1e-3}}, k+1)); err != nil {
						t.Fatal(err)
					}
				}
				ends[k] = s.State().Vectors[vecWeights]
				if s.Done() != 2 {
					t.Errorf("%d steps", s.Done())
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if !slices.Equal(ends[0], ends[1]) {
				t.Errorf("the weights differ, relatively by %.1e", relative(ends[1], wide(ends[0])))
			}
		})
	}
}
