package native

import (
	"context"

	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort"
)

// piece is a graph of detached in work.
type piece struct {
	session *ort.Session
	runs    [2]*ort.Bound // as a lane's
}

// parameter returns the trained parameter of that name, or nil.
func (p *Program) parameter(name string) *Parameter {
	if i, ok := p.places[name]; ok {
		return &p.parameters[i]
	}
	return nil
}

// makeShared makes what the graphs of a step of several parts see pieces of. With
// as many lanes as parts the first lane's gradients become the sums.
func (s *Step) makeShared() {
	p := s.program
	for i := range s.state {
		s.state[i][vecWeights] = make([]float32, total(p.parameters))
	}
	s.sums = p.newGradients()
	s.fixed[inTotal] = s.sums.whole
}

// newLane makes a lane with its buffers.
func (s *Step) newLane() *lane {
	p := s.program
	l := &lane{fixed: map[string][]float32{}, masks: newMasks(p.masks, p.options.Dropout.Seed, p.options.Repeat)}
	if p.apply == nil {
		return l
	}
	if l.gradients = s.sums; len(s.lanes) > 0 || p.options.Lanes < p.options.Accumulate {
		l.gradients = p.newGradients()
	}
	for _, t := range p.apart.slots {
		l.fixed[t.name] = l.gradients.slot(t)
	}
	return l
}

// finishBuffers is where finish finds the sums of raw gradients and puts what it
// makes of them.
func (s *Step) finishBuffers() map[string][]float32 {
	out := map[string][]float32{}
	for _, t := range s.program.apart.slots {
		if t.done != "" {
			out[t.name] = s.sums.slot(t)
			out[t.done] = t.of.span().of(s.sums.whole)
		}
	}
	return out
}

// openPieces makes the sessions of graphs that run at the same time.
func (s *Step) openPieces(rt *ort.Runtime, o ort.SessionOptions, graphs []*onnx.Model, fixed map[string][]float32) ([]*piece, error) {
	var out []*piece
	for _, m := range graphs {
		session, err := rt.NewSession(m.Bytes(), o)
		if err != nil {
			return out, err
		}
		p := &piece{session: session}
		out = append(out, p)
		if p.runs, err = s.bind(session, &lane{fixed: fixed, masks: &masks{}}); err != nil {
			return out, err
		}
	}
	return out, nil
}

// runPieces runs them at the same time.
func (s *Step) runPieces(ctx context.Context, pieces []*piece) error {
	return together(ctx, len(pieces), func(ctx context.Context, i int) error { return pieces[i].runs[s.now].Run(ctx) })
}

// addPart adds the gradients of part i of a step to those of the parts before.
func (s *Step) addPart(l *lane, i int) {
	slots := s.program.apart.slots
	switch {
	case i > 0:
		s.sums.add(l.gradients, slots)
	case s.program.options.Lanes < s.program.options.Accumulate:
		s.sums.set(l.gradients, slots)
	}
}
