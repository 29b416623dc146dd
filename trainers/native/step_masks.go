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

func newMasks(layers []dropout.Layer, seed uint64) *masks {
	m := &masks{layers: layers, seed: seed, bound: map[string][]uint8{}, spare: map[string][]uint8{}, ready: -1}
	for _, l := range layers {
		m.bound[l.Input], m.spare[l.Input] = make([]uint8, l.Len()), make([]uint8, l.Len())
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

// run makes pass number so-and-so through the graph: batch part of the step in
// work, 0 for all steps of one batch.
func (s *Step) run(ctx context.Context, part int) error {
	m := s.masks
	if len(m.layers) == 0 {
		return s.runs[s.now].Run(ctx)
	}
	pass := s.done*s.program.options.Accumulate + part
	m.load(pass)
	m.ready = -1
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.fill(m.spare, pass+1)
	}()
	err := s.runs[s.now].Run(ctx)
	<-done
	m.ready = pass + 1
	return err
}
