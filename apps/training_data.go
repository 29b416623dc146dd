package apps

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/trainers"
)

// TrainingDataOptions tune OpenTrainingData. The zero value prepares cases but
// cannot judge networks.
type TrainingDataOptions struct {
	// Runtime gives the ONNX Runtime that Score uses.
	Runtime   func(context.Context) (*ort.Runtime, error)
	Device    string // that Score runs on; "" means the CPU
	Threads   int    // of one inference; 0 means all cores
	MaxVoxels int64  // of one image file and of one prepared case; 0 means the defaults
	// IgnoreValue marks, in label files, voxels that nobody has labelled; 0: there
	// are none. It keeps its number among class indices (Config.IgnoreLabel).
	IgnoreValue int
}

// OpenTrainingData connects the model in a folder and image files with a
// trainer. Errors are faults: what is missing in the folder, or why the model
// cannot be trained natively.
func OpenTrainingData(ctx context.Context, model fs.FS, o TrainingDataOptions) (trainers.Data, error) {
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap(fault.Canceled, err, "opening the model was stopped")
	}
	p, err := infer.OpenPipeline(model, infer.PipelineOptions{MaxVoxels: o.MaxVoxels, Ignore: o.IgnoreValue, Device: o.Device})
	if err != nil {
		return nil, err
	}
	d := &trainingData{o: o, p: p}
	d.spec = trainers.Spec{
		Version: p.Version(), Network: p.Network(), Channels: p.Channels(), Window: p.Window(),
		Dimension: p.Dimension(), Outputs: p.Outputs(), Padding: p.Padding(),
	}
	for _, c := range p.Classes() {
		d.spec.Classes = append(d.spec.Classes, trainers.Class{Index: c.Index, Name: c.Name, Value: c.Value})
	}
	return d, nil
}

// trainingData prepares cases and judges networks by the pipeline of inference.
type trainingData struct {
	o    TrainingDataOptions
	p    *infer.Pipeline
	spec trainers.Spec
}

var _ trainers.Data = (*trainingData)(nil)

// Spec implements trainers.Data.
func (d *trainingData) Spec() trainers.Spec { return d.spec }

// Load implements trainers.Data.
func (d *trainingData) Load(ctx context.Context, c trainers.Case) (*trainers.Sample, error) {
	s, err := d.load(ctx, c)
	return s, ofCase(c.ID, err)
}

func (d *trainingData) load(ctx context.Context, c trainers.Case) (*trainers.Sample, error) {
	in, truth, err := d.read(ctx, c)
	if err != nil {
		return nil, err
	}
	p, err := d.p.Prepare(ctx, in, truth)
	if err != nil {
		return nil, err
	}
	return &trainers.Sample{ID: c.ID, Channels: p.Channels, Size: p.Size, Spacing: p.Spacing, Image: p.Image, Labels: p.Labels}, nil
}

// read reads the files of a case.
func (d *trainingData) read(ctx context.Context, c trainers.Case) (in infer.Input, truth *imaging.LabelMap, err error) {
	limits := codec.Limits{MaxVoxels: d.o.MaxVoxels}
	for _, name := range c.Images {
		v, err := codec.Read(ctx, name, limits)
		if err != nil {
			return in, nil, readFault(err, "an image", name)
		}
		in.Volumes = append(in.Volumes, v)
	}
	if c.Label == "" {
		return in, nil, fault.New(fault.Invalid, "there is no label")
	}
	v, err := codec.Read(ctx, c.Label, limits)
	if err == nil {
		truth, err = imaging.LabelMapOf(v)
	}
	return in, truth, readFault(err, "the label", c.Label)
}

// ofCase names the case in an error. Its kind stays.
func ofCase(id string, err error) error {
	msg, ok := fault.Message(err)
	switch {
	case err == nil:
		return nil
	case !ok:
		return fmt.Errorf("case %s: %w", id, err)
	}
	return fault.Wrap(fault.KindOf(err), err, "case %s: %s", id, msg)
}

// Close implements trainers.Data.
func (d *trainingData) Close() error { return nil }
