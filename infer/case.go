package infer

import (
	"context"
	"fmt"
	"io/fs"
	"runtime/debug"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/imaging/transform"
	"github.com/voxloop/voxloop/internal/onnx"
)

// PipelineOptions tune a Pipeline. The zero value is ready for use.
type PipelineOptions struct {
	MaxVoxels int64 // largest prepared image, channels included; 0 means 1<<30
	// Ignore is the value of label files that marks voxels which nobody has
	// labelled; 0: there is none. It stays the same number among class indices,
	// so it must be neither a label's value nor a class of the network.
	Ignore int
	// Device is where an Evaluator runs; "" means the CPU.
	Device string
}

// Pipeline is a model folder's way from images to its network and back, for
// training: cases prepared exactly as inference prepares them, and other
// networks of the same interface run in place of the folder's own. It is safe
// for many goroutines.
type Pipeline struct {
	o       PipelineOptions
	m       *Manifest
	graph   *onnx.Model
	b       *binding
	version string
	outputs int // channels of the output
	classes []CaseClass
	index   []int32 // class index by label value; -1: unknown
	pool    buffers
}

// CaseClass is a label that the model writes.
type CaseClass struct {
	Name  string
	Value int // in label files
	Index int // what Case.Labels holds: the output's channel; 1 where the only channel is a sigmoid's
}

// OpenPipeline reads a model folder. It refuses (Invalid) models whose outputs
// are no exclusive classes: several outputs, channels that may overlap, and
// networks that end with the activation themselves.
func OpenPipeline(fsys fs.FS, o PipelineOptions) (*Pipeline, error) {
	if o.MaxVoxels <= 0 {
		o.MaxVoxels = 1 << 30
	}
	m, manifest, err := readModel(fsys)
	if err != nil {
		return nil, err
	}
	data, err := fs.ReadFile(fsys, NetworkFile)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "%s cannot be read", NetworkFile)
	}
	graph, err := onnx.Parse(data)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "%s is no readable network", NetworkFile)
	}
	p := &Pipeline{o: o, m: m, graph: graph, version: contentID(data, manifest, m.attached)}
	if p.b, err = bind(m, graph); err != nil {
		return nil, err
	}
	if err := p.readClasses(); err != nil {
		return nil, refuse(err)
	}
	return p, nil
}

// Version is the hash of the folder's content, as the registry names it.
func (p *Pipeline) Version() string { return p.version }

// Network is the folder's network as it stands there. It must not be changed.
func (p *Pipeline) Network() *onnx.Model { return p.graph }

// Channels is the number of the network's input channels.
func (p *Pipeline) Channels() int { return len(p.m.Inputs) }

// Dimension is 3, or 2 for a model that looks at slices.
func (p *Pipeline) Dimension() int { return p.m.Dimension }

// Window is the size of inference's windows along the array axes, 0 where the
// whole image is one window. A 2-D model's first axis counts slices: 1.
func (p *Pipeline) Window() [3]int {
	w := p.b.window
	if p.m.Dimension == 2 {
		w[0] = 1
	}
	return w
}

// Outputs is the number of channels of the network's output: 1 for a sigmoid,
// else one per class of a softmax.
func (p *Pipeline) Outputs() int { return p.outputs }

// Classes are the labels that the model writes, in the manifest's order,
// without the background.
func (p *Pipeline) Classes() []CaseClass { return p.classes }

// Padding is the value that inference puts around an image that is smaller
// than a window, after normalisation.
func (p *Pipeline) Padding() float32 { return float32(p.m.Window.PadValue) }

// Case is an image with its labels as the network sees them. Array axes are
// those of the network's input tensor, the last one fastest; the axis across a
// 2-D model's slices comes first.
type Case struct {
	Channels int
	Size     [3]int     // voxels along the array axes
	Spacing  [3]float64 // mm along the same axes
	Image    []float32  // [Channels, Size…]
	Labels   []uint16   // [Size…], class indices; nil without a label map
}

// Prepare prepares a case by the same steps as an inference: orientation,
// spacing, normalisation, crop. The labels follow by nearest neighbour; they
// must lie on the grid of the first image up to the order and direction of the
// axes. Channels of clicks and of an earlier label map are as when there is
// none. Errors are faults: Invalid for voxels that are not finite, for labels
// off the grid or with values that the manifest does not know, TooLarge,
// Canceled.
func (p *Pipeline) Prepare(ctx context.Context, in Input, labels *imaging.LabelMap) (c *Case, err error) {
	defer func() {
		if r := recover(); r != nil { // a strange image ends one case, not a training
			err = fault.Wrap(fault.Internal, fmt.Errorf("panic: %v\n%s", r, debug.Stack()), "the case could not be prepared")
		}
		if err != nil && ctx.Err() != nil && fault.KindOf(err) != fault.Canceled {
			err = fault.Wrap(fault.Canceled, ctx.Err(), "preparing a case was stopped")
		}
	}()
	in.Guidance, in.Previous = nil, nil
	if err := p.checkFinite(ctx, in); err != nil {
		return nil, err
	}
	ready, err := p.m.prepare(ctx, in, p.o.MaxVoxels, &p.pool)
	if err != nil {
		return nil, err
	}
	defer p.pool.put(ready.data)
	if err := p.checkPrepared(ctx, ready); err != nil {
		return nil, err
	}
	c = &Case{Channels: len(p.m.Inputs), Size: ready.layout.Size, Spacing: ready.layout.Affine.Spacing()}
	if labels != nil {
		if c.Labels, err = p.labels(ctx, labels, ready); err != nil {
			return nil, err
		}
	}
	c.Image = append([]float32(nil), ready.data...) // the pool's memory goes back
	return c, nil
}

// labels samples a label map at the voxels of a prepared image.
func (p *Pipeline) labels(ctx context.Context, l *imaging.LabelMap, at *prepared) ([]uint16, error) {
	l, ok := codec.Align(l, at.image)
	if !ok {
		return nil, fault.New(fault.Invalid, "the label map does not lie on the image's grid")
	}
	if err := p.checkValues(l.Data); err != nil {
		return nil, err
	}
	plan, err := transform.NewPlan(transform.Stored(l.Grid), at.layout, transform.Options{Nearest: true})
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the label map cannot be resampled")
	}
	out := make([]uint16, at.layout.Voxels())
	if err := plan.Labels(ctx, l.Data, out); err != nil {
		return nil, err
	}
	for i, v := range out {
		out[i] = uint16(p.index[v]) //nolint:gosec // checkValues has seen every value
	}
	return out, nil
}
