package infer

import (
	"context"
	"io/fs"
	"slices"

	"github.com/voxloop/voxloop/internal/dropout"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort"
)

// variant names a form of a model's network that inference has no need of.
type variant struct {
	dropout  bool // multiplies by masks
	members  bool // gives the members' scores in place of their mean
	features bool // gives the bottleneck's means too
}

// extra is what a variant has beside a plain network.
type extra struct {
	layers   []dropout.Layer                            // of a network of fixed windows
	resize   func(size [3]int) ([]dropout.Layer, error) // for one that takes the whole image
	features []float32                                  // [batch, channels] of the last run
}

// layersOf returns the masks of a network for windows of the given size.
func (e *extra) layersOf(size [3]int) ([]dropout.Layer, error) {
	if e.resize != nil {
		return e.resize(size)
	}
	return e.layers, nil
}

// variant returns a variant of the network, opened on first need. It is closed
// with the network.
func (s *network) variant(ctx context.Context, k variant) (*network, error) {
	if k == (variant{}) {
		return s, nil
	}
	if n := s.variants[k]; n != nil {
		return n, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	n, err := s.open(ctx, k)
	if err != nil {
		return nil, err
	}
	if s.variants == nil {
		s.variants = make(map[variant]*network)
	}
	s.variants[k] = n
	return n, nil
}

// opener opens variants of a loaded network. It reads the model's file again:
// to keep it would cost its size for as long as the version serves.
type opener struct {
	*loader
	src    *source
	id     string // that the content must still have
	device string
	base   *network
}

func (o *opener) open(_ context.Context, k variant) (*network, error) {
	data, err := fs.ReadFile(o.src.fsys, NetworkFile)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "%s cannot be read again", NetworkFile)
	}
	if contentID(data, o.src.manifest, o.src.m.attached) != o.id {
		return nil, fault.New(fault.Conflict, "%s has been changed since the model was loaded; restart the server, or publish the change as a version", NetworkFile)
	}
	graph, err := onnx.Parse(data)
	if err != nil {
		return nil, err
	}
	n := &network{m: o.base.m, pool: o.base.pool, maxVoxels: o.base.maxVoxels, importance: o.base.importance, heads: o.base.heads}
	b := *o.base.b
	n.b = &b
	if k.members {
		b.outputs = n.m.Network.Members
		n.heads = slices.Repeat(n.heads[:1], len(b.outputs))
	}
	ready, err := o.graph(n, graph, k)
	if err != nil {
		return nil, err
	}
	n.session, err = o.runtime.NewSession(ready.Bytes(), ort.SessionOptions{Device: o.device, Threads: o.threads, ByteInputs: k.dropout})
	return n, err
}

// graph returns the prepared graph of a variant.
func (o *opener) graph(n *network, graph *onnx.Model, k variant) (*onnx.Model, error) {
	plain, err := n.b.fixed(n.m, graph)
	if err != nil {
		return nil, err
	}
	if k.features {
		if err := n.addFeatures(plain, graph); err != nil {
			return nil, err
		}
	}
	if k.dropout {
		if plain, err = n.addMasks(graph); err != nil {
			return nil, err
		}
	}
	ready, _, err := onnx.Prepare(plain, onnx.PrepareOptions{Provider: o.device})
	return ready, err
}

// addMasks returns the network with masks as inputs.
func (s *network) addMasks(graph *onnx.Model) (*onnx.Model, error) {
	all, dropping := dropout.Count(graph)
	ratio := s.m.Network.Dropout
	switch {
	case all == 0:
		return nil, fault.New(fault.Invalid, "the network has no dropout, so that Monte-Carlo dropout says nothing about it: ask for test-time augmentation, or train a network with dropout (voxloop model new --dropout 0.1)")
	case dropping == 0 && ratio == 0:
		return nil, fault.New(fault.Invalid, "no dropout of the network has a constant ratio above 0: give one as network.dropout in %s", ManifestFile)
	}
	plain, err := s.b.pruned(s.m, graph)
	if err != nil {
		return nil, err
	}
	free := s.b.window == ([3]int{})
	out, layers, err := dropout.WithMasks(plain, ratio, free)
	if err != nil {
		return nil, err
	}
	s.extra.layers = layers
	if free {
		s.extra.resize = func(size [3]int) ([]dropout.Layer, error) {
			m := plain.Clone()
			if err := m.FixShape(s.b.input, s.m.inputShape(s.b.batch, size)); err != nil {
				return nil, err
			}
			_, layers, err := dropout.WithMasks(m, ratio, false)
			return layers, err
		}
	}
	return out, nil
}

// addFeatures makes the bottleneck's means an output of the network. graph is
// the untouched one.
func (s *network) addFeatures(plain, graph *onnx.Model) error {
	part := *s.b
	if len(s.m.Network.Members) > 0 {
		part.outputs = s.m.Network.Members[:1]
	}
	if part.window == ([3]int{}) {
		part.window = s.m.testWindow(part.window)
	}
	sized, err := part.fixed(s.m, graph)
	if err != nil {
		return err
	}
	if err := sized.Graph.Sort(); err != nil {
		return err
	}
	name, channels, ok := sized.Bottleneck(s.m.Dimension + 2)
	if !ok {
		return fault.New(fault.Invalid, "no bottleneck was found in the network: no value that an up-sampling reads has a size that follows from the input's; features cannot be had from it")
	}
	out := plain.Graph.Names().New("voxloop.features")
	plain.AddNode("GlobalAveragePool", []string{name}, []string{out})
	shape := tensorShape(s.m.Dimension, s.b.batch, channels, [3]int{1, 1, 1})
	plain.AddOutput(out, onnx.Float32, shape...)
	s.extra.features = make([]float32, s.b.batch*channels)
	return nil
}
