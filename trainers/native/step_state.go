package native

import (
	"maps"
	"slices"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
)

// State is everything that a step changes, for checkpoints.
type State struct {
	Done int // steps made
	// Vectors are the parameters, moments and running statistics, and where they
	// are kept the moving averages and the scale of the loss.
	Vectors map[string][]float32
}

// State returns a copy of the present state.
func (s *Step) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := State{Done: s.done, Vectors: map[string][]float32{}}
	for name, v := range s.present() {
		out.Vectors[name] = slices.Clone(v)
	}
	return out
}

// present returns all vectors of the state. That of the scaler is a copy.
func (s *Step) present() map[string][]float32 {
	all := map[string][]float32{}
	maps.Copy(all, s.state[s.now])
	for vector, v := range s.average {
		all[averageOf(vector)] = v
	}
	if s.program.options.Scaling.on() {
		all[vecScaling] = s.scaler.vector()
	}
	return all
}

// SetState continues from a state of the same program: the next step gives
// what it would have given there, bit for bit.
func (s *Step) SetState(st State) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	present := s.present()
	if len(st.Vectors) != len(present) || st.Done < 0 {
		return fault.New(fault.Invalid, "the saved state has %d vectors where the step has %d", len(st.Vectors), len(present))
	}
	for name, v := range present {
		if len(st.Vectors[name]) != len(v) {
			return fault.New(fault.Invalid, "the saved state has %d values of %s where the step has %d", len(st.Vectors[name]), name, len(v))
		}
	}
	for name, v := range st.Vectors {
		copy(present[name], v)
	}
	if v := st.Vectors[vecScaling]; v != nil {
		s.scaler.restore(v)
	}
	s.done = st.Done
	return nil
}

// Model returns the network with the present values: the file to be served.
// Parameters that the exporter had merged are apart in it.
func (s *Step) Model() *onnx.Model {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.program.model(s.state[s.now])
}

// AveragedModel returns the network with the moving average of its values, and
// false when none is kept.
func (s *Step) AveragedModel() (*onnx.Model, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.average) == 0 {
		return nil, false
	}
	return s.program.model(s.average), true
}

// averageOf is the name that the average of a vector has in a State.
func averageOf(vector string) string { return vector + suffixAverage }

// Averaged returns the state with the moving averages in place of the
// network's values, for Program.Model; false when st has none. Vectors are
// shared with st.
func Averaged(st State) (State, bool) {
	out, found := State{Done: st.Done, Vectors: maps.Clone(st.Vectors)}, false
	for name, v := range st.Vectors {
		if vector, ok := strings.CutSuffix(name, suffixAverage); ok {
			out.Vectors[vector], found = v, true
		}
	}
	return out, found
}

// Model returns the network with the values of a state of this program.
func (p *Program) Model(st State) (*onnx.Model, error) {
	for vector, list := range p.vectors() {
		if n := total(list); int64(len(st.Vectors[vector])) != n {
			return nil, fault.New(fault.Invalid, "the saved state has %d values of %s where the network has %d", len(st.Vectors[vector]), vector, n)
		}
	}
	return p.model(st.Vectors), nil
}

func (p *Program) model(values map[string][]float32) *onnx.Model {
	m := p.source.model.Clone()
	for vector, list := range p.vectors() {
		for _, t := range list {
			m.Graph.SetInitializer(onnx.NewFloat32(t.Name, t.Shape, values[vector][t.offset:t.offset+t.Len()]))
		}
	}
	return m
}
