package apps

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	overlap "github.com/voxloop/voxloop/internal/imaging/metrics"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/trainers"
)

// Score implements trainers.Data. The Dice coefficient counts voxels of the
// image's own grid; a class that only one of the two maps has counts 0.
func (d *trainingData) Score(ctx context.Context, network *onnx.Model, cases []trainers.Case, each func(trainers.Score)) (err error) {
	if len(cases) == 0 {
		return nil
	}
	if d.o.Runtime == nil {
		return fault.New(fault.Unavailable, "no ONNX Runtime was given to judge the network with")
	}
	rt, err := d.o.Runtime(ctx)
	if err != nil {
		return err
	}
	e, err := d.p.Evaluator(ctx, rt, network, d.o.Threads)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	return d.readAhead(ctx, cases, func(c trainers.Case, in infer.Input, truth *imaging.LabelMap) error {
		found, err := e.Run(ctx, in, infer.Options{})
		if err != nil {
			return ofCase(c.ID, err)
		}
		dice, err := d.compare(ctx, found, truth)
		if err != nil {
			return ofCase(c.ID, err)
		}
		each(trainers.Score{ID: c.ID, Dice: dice})
		return nil
	})
}

// readCase is a case whose files have been read.
type readCase struct {
	c     trainers.Case
	in    infer.Input
	truth *imaging.LabelMap
	err   error
}

// readAhead calls do for every case in order, and reads the files of the next
// one meanwhile.
func (d *trainingData) readAhead(ctx context.Context, cases []trainers.Case, do func(trainers.Case, infer.Input, *imaging.LabelMap) error) error {
	ctx, cancel := context.WithCancel(ctx)
	read := make(chan readCase)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(read)
		for _, c := range cases {
			r := readCase{c: c}
			r.in, r.truth, r.err = d.read(ctx, c)
			select {
			case read <- r:
			case <-ctx.Done():
				return
			}
		}
	}()
	defer func() {
		cancel()
		<-done
	}()
	n := 0
	for r := range read {
		if r.err != nil {
			return ofCase(r.c.ID, r.err)
		}
		if err := do(r.c, r.in, r.truth); err != nil {
			return err
		}
		n++
	}
	if n < len(cases) {
		return fault.Wrap(fault.Canceled, context.Cause(ctx), "judging the network was stopped")
	}
	return nil
}

// compare returns Dice by class name. Unlabelled voxels do not count.
func (d *trainingData) compare(ctx context.Context, found, truth *imaging.LabelMap) (map[string]float64, error) {
	truth, ok := codec.Align(truth, found.Grid)
	if !ok {
		return nil, fault.New(fault.Invalid, "the label map does not lie on the image's grid")
	}
	if v := d.o.IgnoreValue; v > 0 && slices.Contains(truth.Data, uint16(v)) { //nolint:gosec // OpenPipeline has checked it
		for i, t := range truth.Data {
			if int(t) == v {
				found.Data[i] = uint16(v) //nolint:gosec // no class has it: no class counts here
			}
		}
	}
	cmp, err := overlap.Compare(ctx, found, truth)
	if err != nil {
		return nil, err
	}
	dice := make(map[string]float64, len(d.spec.Classes))
	for _, c := range d.spec.Classes {
		if v := cmp.Counts(uint16(c.Value)).Dice(overlap.NNUNet); !math.IsNaN(v) { //nolint:gosec // the manifest bounds it
			dice[c.Name] = v
		}
	}
	return dice, nil
}
