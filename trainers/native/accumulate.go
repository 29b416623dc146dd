package native

import (
	"context"
	"slices"
)

// accumulate makes one step from several parts: the gradient of each is taken by
// one graph, in as many lanes as there are, and added up here in the order of the
// parts; what depends on no part is computed once, see detached; the optimizer is
// another graph. Running statistics follow every part;
// they go back to where they were when the step does not come about.
func (s *Step) accumulate(ctx context.Context, x, labels []float32) (loss float64, err error) {
	present, next := s.state[s.now][vecStats], s.state[1-s.now][vecStats]
	before := slices.Clone(present)
	defer func() { copy(present, before) }()
	if err := s.runPieces(ctx, s.prepare); err != nil {
		return 0, err
	}
	parts := s.program.options.Accumulate
	for first := 0; first < parts; first += len(s.lanes) {
		err := together(ctx, len(s.lanes), func(ctx context.Context, i int) error {
			return s.run(ctx, s.lanes[i], first+i, x, labels)
		})
		if err != nil {
			return 0, err
		}
		copy(present, next)
		for i, l := range s.lanes {
			loss += float64(l.fixed[outLoss][0]) / float64(parts)
			s.addPart(l, first+i)
		}
	}
	if err := s.runPieces(ctx, s.finish); err != nil {
		return 0, err
	}
	return loss, s.applies[s.now].Run(ctx)
}

// addTo adds b to a.
func addTo(a, b []float32) {
	inParts(len(a), func(from, to int) {
		for i, v := range b[from:to] {
			a[from+i] += v
		}
	})
}
