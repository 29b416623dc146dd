package native

import (
	"context"
	"slices"
)

// accumulate makes one step from several batches: the gradient of each is taken
// by one graph and added up here, the optimizer is another graph. Running
// statistics follow every batch; they go back to where they were when the step
// does not come about.
func (s *Step) accumulate(ctx context.Context, x, labels []float32) (loss float64, err error) {
	image := s.fixed[s.imageName()]
	classes := s.fixed[inLabels]
	present, next := s.state[s.now][vecStats], s.state[1-s.now][vecStats]
	before := slices.Clone(present)
	defer func() { copy(present, before) }()
	batches := s.program.options.Accumulate
	for i := range batches {
		copy(image, x[i*len(image):])
		copy(classes, labels[i*len(classes):])
		if err := s.run(ctx, i); err != nil {
			return 0, err
		}
		copy(present, next)
		loss += float64(s.fixed[outLoss][0]) / float64(batches)
		if i == 0 {
			copy(s.fixed[inTotal], s.fixed[outPart])
		} else {
			addTo(s.fixed[inTotal], s.fixed[outPart])
		}
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
