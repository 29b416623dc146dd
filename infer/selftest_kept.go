package infer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ort"
)

// A version on disk carries an input and what the untouched graph made of it
// on the CPU provider when the version was first tested: [N, C] and the spatial
// axes of the network, float32. Every load compares with them.
const (
	keptInput   = "selftest.input.npy"
	keptPattern = "selftest.*.npy"

	// maxKept is how many values of an output are kept: of a larger one, every
	// k-th value in C order with the smallest sufficient k, as a flat array.
	maxKept = 1 << 22
)

func keptOutput(i int) string { return fmt.Sprintf("selftest.output%d.npy", i) }

// thinned returns what is kept of an output.
func thinned(v []float32) []float32 {
	k := (len(v) + maxKept - 1) / maxKept
	if k <= 1 {
		return v
	}
	out := make([]float32, 0, maxKept)
	for i := 0; i < len(v); i += k {
		out = append(out, v[i])
	}
	return out
}

// warmUp runs the session that is to serve once, and compares what it gives
// with what the version's folder keeps. A folder on disk that keeps nothing
// yet gets it. The first case of a client finds everything allocated.
func (t *selfTest) warmUp(ctx context.Context, s *ort.Session, src *source) error {
	window := t.window()
	in := ort.Tensor{Shape: t.m.inputShape(t.b.batch, window)}
	shape, data, err := readNPY(src.fsys, keptInput)
	kept := err == nil
	switch {
	case errors.Is(err, fs.ErrNotExist):
		in.Data = testInput(t.m, t.b.batch, window)
	case err != nil:
		return err
	case !slices.Equal(shape, in.Shape):
		return fault.New(fault.Invalid, "self-test: %s has the shape %v; this network takes %v", keptInput, shape, in.Shape)
	default:
		in.Data = data
	}
	got, err := runOnce(ctx, s, t.m, in)
	if err != nil {
		return err
	}
	if kept {
		return t.compareKept(src.fsys, got)
	}
	if src.id == "" {
		return nil // version 0 is compared with its untouched graph only
	}
	return t.keep(ctx, src, in, got)
}

// compareKept compares outputs with the kept ones.
func (t *selfTest) compareKept(fsys fs.FS, got [][]float32) error {
	for i := range got {
		_, want, err := readNPY(fsys, keptOutput(i))
		if errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.Invalid, "self-test: %s is not beside %s", keptOutput(i), keptInput)
		}
		if err != nil {
			return err
		}
		have := got[i]
		if len(want) != len(have) {
			have = thinned(have)
		}
		if len(want) != len(have) {
			return fault.New(fault.Invalid, "self-test: %s has %d values; this network gives %d", keptOutput(i), len(want), len(got[i]))
		}
		if d := difference(have, want); !(d <= t.tolerance()) {
			return fault.New(fault.Unavailable, "self-test on %s failed: the scores differ from those that the version must give by %.2g of their largest", t.device, d)
		}
	}
	return nil
}

// keep writes an input and what the untouched graph makes of it, output by
// output; the input, whose presence says that the rest is there, comes last.
func (t *selfTest) keep(ctx context.Context, src *source, in ort.Tensor, got [][]float32) error {
	want, err := t.outputs(ctx, t.plain.Bytes(), ort.CPU)
	if err != nil {
		return err
	}
	for i := range want {
		if d := difference(got[i], want[i]); !(d <= t.tolerance()) {
			return fault.New(fault.Unavailable, "self-test on %s failed: scores differ by %.2g of their largest from the untouched network's", t.device, d)
		}
		v := thinned(want[i])
		shape := []int64{int64(len(v))}
		if len(v) == len(want[i]) {
			channels := len(v) / (len(in.Data) / int(in.Shape[1]))
			shape = slices.Clone(in.Shape)
			shape[1] = int64(channels)
		}
		if err := writeNPY(src.dir, keptOutput(i), shape, v); err != nil {
			return shelfFault(err, "keeping the self-test")
		}
	}
	err = writeNPY(src.dir, keptInput, in.Shape, in.Data)
	if err == nil {
		err = syncDir(src.dir)
	}
	return shelfFault(err, "keeping the self-test")
}

func (t *selfTest) tolerance() float64 {
	if t.device == ort.CPU {
		return toleranceCPU
	}
	return toleranceOther
}

// difference is the largest |got - want| as a share of max(1, largest |want|);
// infinite where one of them is no number.
func difference(got, want []float32) float64 {
	top, worst := 1.0, 0.0
	for i := range want {
		top = max(top, math.Abs(float64(want[i])))
		d := math.Abs(float64(got[i]) - float64(want[i]))
		if math.IsNaN(d) {
			d = math.Inf(1)
		}
		worst = max(worst, d)
	}
	return min(worst/top, math.MaxFloat32) // JSON knows no infinity
}

// runOnce runs a session on an input. Scores that are no finite numbers are
// an error: such a network can decide nothing.
func runOnce(ctx context.Context, s *ort.Session, m *Manifest, in ort.Tensor) ([][]float32, error) {
	var out []ort.Tensor
	var data [][]float32
	for i, o := range s.Outputs() {
		if len(o.Shape) != m.Dimension+2 || o.Shape[1] < 1 {
			return nil, refuse(keyErrorf(fmt.Sprintf("outputs[%d]", i), "%s has the shape %v; [N, C] and %d spatial axes with a fixed C are needed", o.Name, o.Shape, m.Dimension))
		}
		shape := slices.Clone(in.Shape)
		shape[1] = o.Shape[1]
		n := int64(1)
		for _, d := range shape {
			n *= d
		}
		data = append(data, make([]float32, n))
		out = append(out, ort.Tensor{Shape: shape, Data: data[i]})
	}
	if err := s.Run(ctx, []ort.Tensor{in}, out); err != nil {
		if fault.KindOf(err) == fault.Canceled {
			return nil, err
		}
		return nil, fault.Wrap(fault.Invalid, err, "self-test on %s failed: the network does not turn %v into %v", s.Device(), in.Shape, out[0].Shape)
	}
	for i, v := range data {
		for _, x := range v {
			if f := float64(x); math.IsNaN(f) || math.IsInf(f, 0) {
				return nil, fault.New(fault.Invalid, "self-test on %s failed: %s has scores that are no finite numbers", s.Device(), s.Outputs()[i].Name)
			}
		}
	}
	return data, nil
}

// outputs runs a graph on the test window.
func (t *selfTest) outputs(ctx context.Context, graph []byte, device string) (_ [][]float32, err error) {
	s, err := t.runtime.NewSession(graph, ort.SessionOptions{Device: device, Threads: t.threads, NoArena: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	window := t.window()
	return runOnce(ctx, s, t.m, ort.Tensor{Shape: t.m.inputShape(t.b.batch, window), Data: testInput(t.m, t.b.batch, window)})
}
