package native

import (
	"slices"

	"github.com/voxloop/voxloop/internal/dropout"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
)

// Options say how a network is trained.
type Options struct {
	Shape     []int64   // of the batch: [N, C, spatial…]
	Loss      Loss      // nil means DiceCE()
	Optimizer Optimizer // nil means AdamW(1e-5)

	// HeadWeights are the weights of the network's outputs when it has several
	// (deep supervision): each is compared with the labels at its own size.
	// nil means max(0.5^i, 0.0625) for output i.
	HeadWeights []float64
	// Frozen are patterns (path.Match) of parameters that keep their values.
	Frozen []string
	// BatchStatistics trains BatchNormalization with the statistics of the
	// batch and lets the running ones follow; otherwise they are constants.
	BatchStatistics bool
	// IgnoreLabel marks voxels that do not count; 0 means none.
	IgnoreLabel int
	// ClipNorm bounds the norm of the whole gradient, ClipKind says which; 0
	// means no bound.
	ClipNorm float64
	ClipKind Norm
	// ClipValue bounds the magnitude of every element of the gradient, before
	// ClipNorm; 0 means no bound.
	ClipValue float64
	// Accumulate is the number of batches of Shape that make one step: their
	// gradients are averaged, in the memory of one. It equals one large batch for
	// losses that are means over samples of equal weight. It does not for Batch
	// sums (Dice, Tversky, generalised Dice), top-k, weighted or partly ignored
	// cross-entropy (each batch has its own divisor), and batch statistics. 0
	// means 1.
	Accumulate int
	// Lanes is in how many parts a batch is computed, at the same time, each on its
	// share of the threads. Small kernels gain little from a second thread; samples
	// on two threads gain nearly all of it. The values are those of one large batch
	// but for the order of sums, under the conditions of Separable, and do not
	// depend on which part is ready first. It divides Shape[0]; 0 means 1.
	Lanes int
	// Repeat is how many steps one call of Step.RunSteps may make: an ONNX Loop, in
	// which the state stays on the device. It pays where state and batches cross a
	// bus. It goes with single batches only, see Repeatable; 0 means 1.
	Repeat int
	// Segments, from 2 on, saves memory for time (gradient checkpointing): the
	// forward pass is cut into as many, and what does not cross a cut is computed a
	// second time for the gradients. The values are the same.
	Segments int
	// Average keeps a moving average of the weights, see Step.AveragedModel.
	Average Averaging
	// Half computes convolutions and matrix products in half precision, forward and
	// backward; what they are made of and everything else stays in single precision.
	// It pays on graphics cards and goes with Scaling.
	Half bool
	// Scaling is for backward passes in half precision.
	Scaling Scaling
	// Dropout says what Dropout nodes do.
	Dropout Dropout
	// Gradients keeps the gradients of every step for Step.Gradient, and the
	// logits for Step.Logits.
	Gradients bool
}

// Parameter is one trained tensor of the network.
type Parameter struct {
	Name  string
	Shape []int64

	offset int64 // in the vector of all parameters
}

// Len is the number of its elements.
func (p Parameter) Len() int64 { return size(p.Shape) }

func (p Parameter) span() span { return span{p.offset, p.Len()} }

// Program is a compiled training step. It is immutable.
type Program struct {
	options    Options
	source     *network
	parameters []Parameter
	places     map[string]int // name → place among the parameters
	statistics []Parameter
	graph      *onnx.Model
	apply      *onnx.Model // the optimizer apart, where a step takes several parts; otherwise nil
	apart      detached    // and what else is computed once then
	repeat     *onnx.Model // several steps in one call; nil: one
	image      string      // the image's name
	labels     []int64
	heads      [][]int64 // shapes of the logits
	masks      []dropout.Layer
	memory     int64
}

// Names of the step graph's inputs and outputs. A vector's value after the
// step has the suffix suffixNext.
const (
	inLabels   = "voxloop.labels"
	inFactors  = "voxloop.factors"
	inScale    = "voxloop.scale"
	inTotal    = "voxloop.total" // the gradient of all batches of a step
	vecWeights = "voxloop.parameters"
	vecStats   = "voxloop.statistics"
	vecMoment  = "voxloop.moment"
	vecScaling = "voxloop.scaling" // kept outside of the graph: scale and count of the scaler
	outLoss    = "voxloop.loss"
	outNorm    = "voxloop.norm"
	outGrad    = "voxloop.gradient"
	outPart    = "voxloop.part" // the gradients of one part of several
	outLogits  = "voxloop.logits"
	suffixNext = ".next"

	suffixAverage = ".average" // of a vector in a State
)

// Compile derives the training step of a network with one image input and
// class scores as outputs. Errors have kind fault.Invalid and name the node or
// the option at fault; nothing has run then.
func Compile(m *onnx.Model, o Options) (*Program, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	o = o.parts()
	n, err := readNetwork(m, o.Frozen)
	if err != nil {
		return nil, err
	}
	image, err := n.image(o.Shape)
	if err != nil {
		return nil, err
	}
	b := &builder{network: n, options: o, g: newGraph(max(m.Opset(""), stepOpset), n.model.Graph.Names())}
	b.g.batchStatistics, b.g.dropout = o.BatchStatistics, o.Dropout
	n.load(b.g, map[string][]int64{image: o.Shape})
	b.image = image
	p := b.build()
	return p, b.g.err
}

func (o Options) withDefaults() (Options, error) {
	if o.Loss == nil {
		o.Loss = DiceCE()
	}
	if o.Optimizer == nil {
		o.Optimizer = AdamW(1e-5)
	}
	if len(o.Shape) < 3 || slices.ContainsFunc(o.Shape, func(d int64) bool { return d < 1 }) {
		return o, fault.New(fault.Invalid, "the batch's shape %v is not [N, C, spatial…]", o.Shape)
	}
	if o.Accumulate < 0 {
		return o, fault.New(fault.Invalid, "the number of batches per step must not be negative: %d", o.Accumulate)
	}
	o.Accumulate = max(o.Accumulate, 1)
	if err := o.checkLanes(); err != nil {
		return o, err
	}
	o.Lanes = max(o.Lanes, 1)
	if err := o.checkRepeat(); err != nil {
		return o, err
	}
	o.Repeat = max(o.Repeat, 1)
	if o.Segments < 0 {
		return o, fault.New(fault.Invalid, "the number of segments must not be negative: %d", o.Segments)
	}
	if o.IgnoreLabel < 0 {
		return o, fault.New(fault.Invalid, "the label to be ignored must be positive: %d", o.IgnoreLabel)
	}
	for _, check := range []func() error{o.Optimizer.check, o.checkClip, o.Average.check, o.Scaling.check, o.Dropout.check} {
		if err := check(); err != nil {
			return o, err
		}
	}
	return o, nil
}

// image returns the name of the only input, after fixing its shape.
func (n *network) image(shape []int64) (string, error) {
	in := n.model.Inputs()
	if len(in) != 1 || in[0].Type != onnx.Float32 {
		return "", fault.New(fault.Invalid, "the network cannot be trained: it has %d inputs where one float32 image is needed", len(in))
	}
	return in[0].Name, n.model.Clone().FixShape(in[0].Name, shape)
}
