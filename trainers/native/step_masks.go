package native

import (
	"context"

	"github.com/voxloop/voxloop/internal/dropout"
)

// masks are the random bytes of the network's dropouts. Those of the next pass
// are made while the present one runs.
type masks struct {
	layers []dropout.Layer
	seed   uint64
	bound  map[string][]uint8 // what the graph reads, by input
	spare  map[string][]uint8
	ready  int // number of the pass that spare is for; -1: none
}

// newMasks makes room for the masks of n passes that run in one call.
func newMasks(layers []dropout.Layer, seed uint64, n int) *masks {
	m := &masks{layers: layers, seed: seed, bound: map[string][]uint8{}, spare: map[string][]uint8{}, ready: -1}
	for _, l := range layers {
		m.bound[l.Input] = make([]uint8, n*l.Len())
		if n == 1 {
			m.spare[l.Input] = make([]uint8, l.Len())
		}
	}
	return m
}

// fill makes the masks of a pass.
func (m *masks) fill(to map[string][]uint8, pass int) {
	for _, l := range m.layers {
		dropout.Fill(to[l.Input], 0, dropout.Key{Seed: m.seed, Pass: uint64(pass), Node: l.Node}, l.Ratio) //nolint:gosec // passes count from 0
	}
}

// load gives the graph the masks of a pass.
func (m *masks) load(pass int) {
	if m.ready != pass {
		m.fill(m.bound, pass)
		return
	}
	for name, v := range m.spare {
		copy(m.bound[name], v)
	}
}

// run takes a part of the step in work, counted from 0, through the graph of a
// lane.
func (s *Step) run(ctx context.Context, l *lane, part int, x, labels []float32) error {
	image, classes := l.fixed[s.program.image], l.fixed[inLabels]
	copy(image, x[part*len(image):])
	copy(classes, labels[part*len(classes):])
	m := l.masks
	if len(m.layers) == 0 {
		return l.runs[s.now].Run(ctx)
	}
	pass := s.done*s.program.options.Accumulate + part
	next := pass + len(s.lanes) // the part that this lane has next, of this step or the following one
	m.load(pass)
	m.ready = -1
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.fill(m.spare, next)
	}()
	err := l.runs[s.now].Run(ctx)
	<-done
	m.ready = next
	return err
}
