package native

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort"
)

func momentName(i int) string { return fmt.Sprint(vecMoment, i) }
func headName(i int) string   { return fmt.Sprint(outLogits, i) }

// Graph returns the step graph: for looking at it, and for running it
// elsewhere.
func (p *Program) Graph() *onnx.Model { return p.graph.Clone() }

// Parameters returns what is trained, in the order of the vectors.
func (p *Program) Parameters() []Parameter { return slices.Clone(p.parameters) }

// Statistics returns the running statistics that follow the batches.
func (p *Program) Statistics() []Parameter { return slices.Clone(p.statistics) }

// ErrNotFinite is returned by Step.Run when the loss or a gradient is not a
// number or infinite. The step has changed nothing.
var ErrNotFinite = fault.New(fault.Invalid, "the loss or its gradient is not a finite number: the step was skipped")

// vectors is the state that one step reads and the next one finds.
type vectors map[string][]float32

// Step is a program in work: it owns the network's values. Its methods may be
// called from many goroutines; steps take turns.
type Step struct {
	program *Program
	session *ort.Session

	mu    sync.Mutex
	done  int                  // successful steps
	fixed map[string][]float32 // image, labels, factors, loss, …
	state [2]vectors           // state[now] holds the present values
	runs  [2]*ort.Bound        // runs[i] reads state[i] and writes the other
	now   int
}

// Open readies the program on the CPU provider with the network's own values;
// 0 threads means all cores. Close frees it.
func (p *Program) Open(rt *ort.Runtime, threads int) (*Step, error) {
	session, err := rt.NewSession(p.graph.Bytes(), ort.SessionOptions{Device: ort.CPU, Threads: threads})
	if err != nil {
		return nil, err
	}
	s := &Step{program: p, session: session, fixed: map[string][]float32{}}
	for i := range s.state {
		s.state[i] = vectors{}
	}
	err = s.bind()
	if err == nil {
		err = s.reset()
	}
	if err != nil {
		_ = session.Close() // the first error counts
		return nil, err
	}
	return s, nil
}

// bind makes the buffers and ties them to the session in both directions.
func (s *Step) bind() error {
	in, out := s.session.Inputs(), s.session.Outputs()
	for _, t := range in {
		n := size(t.Shape)
		if s.isState(t.Name) {
			s.state[0][t.Name], s.state[1][t.Name] = make([]float32, n), make([]float32, n)
		} else {
			s.fixed[t.Name] = make([]float32, n)
		}
	}
	for _, t := range out {
		if name, ok := cutSuffix(t.Name); !ok || s.state[0][name] == nil {
			s.fixed[t.Name] = make([]float32, size(t.Shape))
		}
	}
	for i := range s.runs {
		b, err := s.session.Bind(s.tensors(in, s.state[i]), s.tensors(out, s.state[1-i]))
		if err != nil {
			return err
		}
		s.runs[i] = b
	}
	return nil
}

func cutSuffix(name string) (string, bool) {
	if n := len(name) - len(suffixNext); n > 0 && name[n:] == suffixNext {
		return name[:n], true
	}
	return name, false
}

func (s *Step) isState(name string) bool {
	if name == vecWeights || name == vecStats {
		return true
	}
	for i := range s.program.options.Optimizer.moments() {
		if name == momentName(i) {
			return true
		}
	}
	return false
}

func (s *Step) tensors(infos []ort.TensorInfo, state vectors) []ort.Tensor {
	var out []ort.Tensor
	for _, t := range infos {
		name, _ := cutSuffix(t.Name)
		data, ok := state[name]
		if !ok {
			data = s.fixed[t.Name]
		}
		out = append(out, ort.Tensor{Shape: t.Shape, Data: data})
	}
	return out
}

// reset puts the network's own values into the state.
func (s *Step) reset() error {
	for vector, list := range s.vectors() {
		for _, p := range list {
			v, err := s.program.source.model.Graph.Initializer(p.Name).Float32()
			if err != nil {
				return err
			}
			copy(s.state[s.now][vector][p.offset:], v)
		}
	}
	return nil
}

// vectors maps the vectors that hold values of the network to their tensors.
func (s *Step) vectors() map[string][]Parameter {
	return map[string][]Parameter{vecWeights: s.program.parameters, vecStats: s.program.statistics}
}

// Run makes one step with the given learning rate and returns the loss before
// it. x has Options.Shape; labels are class indices [N, 1, spatial…]. When the
// loss or the gradient is not finite (ErrNotFinite), or ctx ends first, nothing
// has changed.
func (s *Step) Run(ctx context.Context, x, labels []float32, rate float64) (float64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	image := s.session.Inputs()[0].Name
	if len(x) != len(s.fixed[image]) || len(labels) != len(s.fixed[inLabels]) {
		return 0, fault.New(fault.Invalid, "a batch of %d voxels and %d labels where the step takes %d and %d",
			len(x), len(labels), len(s.fixed[image]), len(s.fixed[inLabels]))
	}
	copy(s.fixed[image], x)
	copy(s.fixed[inLabels], labels)
	copy(s.fixed[inFactors], s.program.options.Optimizer.factors(s.done+1, rate))
	if err := s.runs[s.now].Run(ctx); err != nil {
		return 0, err
	}
	loss := float64(s.fixed[outLoss][0])
	if sum := loss + float64(s.fixed[outNorm][0]); math.IsNaN(sum) || math.IsInf(sum, 0) {
		return loss, ErrNotFinite
	}
	s.now = 1 - s.now
	s.done++
	return loss, nil
}

// Done returns the number of steps made, those of a loaded state included.
func (s *Step) Done() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done
}

// Values returns a copy of the present values of a parameter or statistic.
func (s *Step) Values(name string) ([]float32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for vector, list := range s.vectors() {
		for _, p := range list {
			if p.Name == name {
				return slices.Clone(s.state[s.now][vector][p.offset : p.offset+p.Len()]), nil
			}
		}
	}
	return nil, fault.New(fault.NotFound, "the network has no trained parameter %q", name)
}

// Gradient returns a copy of a parameter's gradient in the last step, before
// clipping. It needs Options.Gradients.
func (s *Step) Gradient(name string) ([]float32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.program.parameters {
		if g := s.fixed[outGrad]; p.Name == name && g != nil {
			return slices.Clone(g[p.offset : p.offset+p.Len()]), nil
		}
	}
	return nil, fault.New(fault.NotFound, "there is no gradient of %q", name)
}

// GradientNorm returns the L2 norm of the whole gradient in the last step,
// before clipping.
func (s *Step) GradientNorm() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return float64(s.fixed[outNorm][0])
}

// Logits returns a copy of output i in the last step, before its update, and
// its shape. It needs Options.Gradients.
func (s *Step) Logits(i int) ([]float32, []int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.fixed[headName(i)]
	if v == nil {
		return nil, nil, fault.New(fault.NotFound, "the logits of output %d are not kept", i)
	}
	return slices.Clone(v), slices.Clone(s.program.heads[i]), nil
}

// Model returns the network with the present values: the file to be served.
// Parameters that the exporter had merged are apart in it.
func (s *Step) Model() *onnx.Model {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.program.source.model.Clone()
	for vector, list := range s.vectors() {
		for _, p := range list {
			m.Graph.SetInitializer(onnx.NewFloat32(p.Name, p.Shape, s.state[s.now][vector][p.offset:p.offset+p.Len()]))
		}
	}
	return m
}

// State is everything that a step changes, for checkpoints.
type State struct {
	Done    int                  // steps made
	Vectors map[string][]float32 // parameters, moments, running statistics
}

// State returns a copy of the present state.
func (s *Step) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := State{Done: s.done, Vectors: map[string][]float32{}}
	for name, v := range s.state[s.now] {
		out.Vectors[name] = slices.Clone(v)
	}
	return out
}

// SetState continues from a state of the same program: the next step gives
// what it would have given there, bit for bit.
func (s *Step) SetState(st State) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(st.Vectors) != len(s.state[s.now]) || st.Done < 0 {
		return fault.New(fault.Invalid, "the saved state has %d vectors where the step has %d", len(st.Vectors), len(s.state[s.now]))
	}
	for name, v := range s.state[s.now] {
		if len(st.Vectors[name]) != len(v) {
			return fault.New(fault.Invalid, "the saved state has %d values of %s where the step has %d", len(st.Vectors[name]), name, len(v))
		}
	}
	for name, v := range st.Vectors {
		copy(s.state[s.now][name], v)
	}
	s.done = st.Done
	return nil
}

// Close frees the session, waiting for a step in progress.
func (s *Step) Close() error { return s.session.Close() }
