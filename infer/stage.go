package infer

import (
	"context"
	"time"

	"github.com/voxloop/voxloop/internal/imaging"
)

// stage is one step of a model: it looks at a case and leaves labels. A model
// is a list of stages; what an earlier one found is there for the later ones
// (to look only there, or as previous_label). Stages are used by one inference
// at a time.
type stage interface {
	run(ctx context.Context, c *task) error
	close() error
}

// task is a case on its way through the stages of a model.
type task struct {
	in      Input
	options Options
	labels  *imaging.LabelMap // what the stages so far have found; on the image's grid
	windows int
	stages  []Stage
	wrap    func(sink, *prepared) sink // looks at the scores on their way; nil: nobody does
}

// timed runs fn and records its time; fn returns the bytes it wrote.
func (c *task) timed(name string, fn func() (int64, error)) error {
	start := time.Now()
	n, err := fn()
	c.record(Stage{Name: name, Duration: time.Since(start), Bytes: n})
	return err
}

// record adds to the account; equal names of several windows or stages are
// summed.
func (c *task) record(s Stage) {
	for i := range c.stages {
		if c.stages[i].Name == s.Name {
			c.stages[i].Duration += s.Duration
			c.stages[i].Bytes += s.Bytes
			return
		}
	}
	c.stages = append(c.stages, s)
}

// runStages runs a model's stages in order.
func runStages(ctx context.Context, stages []stage, c *task) error {
	for _, s := range stages {
		if err := s.run(ctx, c); err != nil {
			return err
		}
		if c.labels != nil {
			c.in.Previous = c.labels
		}
	}
	return nil
}
