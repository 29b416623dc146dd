package design

import (
	"fmt"
	"slices"

	"github.com/voxloop/voxloop/internal/onnx"
)

// build makes the graph of one network. Parameters are named after their place:
// enc.2.conv1.weight, dec.0.norm2.bias, up.1.weight, head.0.bias.
type build struct {
	net   *Network
	m     *onnx.Model
	ratio bool // there is a node with the share to drop

	sketch bool               // shapes only: parameters get no values
	shapes map[string][]int64 // of the parameters
}

// value is a tensor of the graph: its name and channels.
type value struct {
	name     string
	channels int
}

var axisNames = []string{"x", "y", "z"}

// tensor declares [N, channels, spatial…] with free axes; the axes of outputs
// at another size than the image's have names of their own.
func (b *build) tensor(name string, channels int, suffix string) *onnx.Value {
	v := onnx.NewValue(name, onnx.Float32, slices.Repeat([]int64{-1}, 2+b.net.Dimension)...)
	v.Dims[0].Param = "batch"
	v.Dims[1].Size = int64(channels)
	for k := range b.net.Dimension {
		v.Dims[2+k].Param = axisNames[k] + suffix
	}
	return v
}

// node appends an operator call under a readable name, which is also its
// result's.
func (b *build) node(name, op string, inputs []string, attrs ...*onnx.Attr) string {
	b.m.AddNode(op, inputs, []string{name}, attrs...).Name = name
	return name
}

// parameter adds a tensor of zeros, filled later by Initialise.
func (b *build) parameter(name string, dims ...int) string {
	shape, n := make([]int64, len(dims)), 1
	for i, d := range dims {
		shape[i], n = int64(d), n*d
	}
	b.shapes[name] = shape
	if !b.sketch {
		b.m.AddInitializer(onnx.NewFloat32(name, shape, make([]float32, n)))
	}
	return name
}

// encode appends the stages downwards and returns what each of them ends with.
func (b *build) encode() []value {
	at := value{inputName, b.net.Channels}
	var ends []value
	for i, s := range b.net.Stages {
		at = b.encodeStage(i, s, at)
		ends = append(ends, at)
	}
	return ends
}

func (b *build) encodeStage(i int, s Stage, at value) value {
	place := fmt.Sprintf("enc.%d", i)
	if s.Encode == 0 {
		return at
	}
	stride := s.Stride
	if b.net.Type == Residual && i == b.first() && s.Encode > 0 {
		at = b.unit(place+".stem", "", at, s.Features, s.Kernel, stride, true)
		stride = ones(b.net.Dimension)
	}
	for k := range s.Encode {
		if k > 0 {
			stride = ones(b.net.Dimension)
		}
		if b.net.Type == Residual {
			at = b.block(fmt.Sprintf("%s.block%d", place, k+1), at, s, stride)
		} else {
			at = b.unit(place, fmt.Sprint(k+1), at, s.Features, s.Kernel, stride, true)
		}
	}
	return b.dropout(place, i, at)
}

// first is the first stage that has an encoder.
func (b *build) first() int {
	if b.net.Stages[0].Encode == 0 {
		return 1
	}
	return 0
}

// unit is convolution, instance normalisation and, when active, LeakyReLU. The
// normalisation has a bias, so that the convolution needs none.
func (b *build) unit(place, number string, in value, features int, kernel, stride []int, active bool) value {
	conv := b.conv(place+".conv"+number, in, features, kernel, stride, false)
	norm := place + ".norm" + number
	out := b.node(norm, "InstanceNormalization",
		[]string{conv, b.parameter(norm+".scale", features), b.parameter(norm+".bias", features)}, onnx.FloatAttr("epsilon", eps))
	if active {
		out = b.activate(place+".act"+number, out)
	}
	return value{out, features}
}

func (b *build) activate(name, in string) string {
	return b.node(name, "LeakyRelu", []string{in}, onnx.FloatAttr("alpha", slope))
}

// conv is a convolution that keeps the size at stride 1 and divides it by the
// stride otherwise.
func (b *build) conv(name string, in value, features int, kernel, stride []int, bias bool) string {
	half := make([]int, len(kernel))
	for k := range kernel {
		half[k] = kernel[k] / 2
	}
	inputs := []string{in.name, b.parameter(name+".weight", slices.Concat([]int{features, in.channels}, kernel)...)}
	if bias {
		inputs = append(inputs, b.parameter(name+".bias", features))
	}
	return b.node(name, "Conv", inputs, ints("kernel_shape", kernel), ints("strides", stride), ints("pads", slices.Concat(half, half)))
}

// block is a residual block: two convolutions beside a shortcut, which averages
// over the stride and has a convolution of its own where the channels change
// (He et al. 2019, "Bag of tricks", as in nnU-Net's residual encoder).
func (b *build) block(place string, in value, s Stage, stride []int) value {
	main := b.unit(place, "1", in, s.Features, s.Kernel, stride, true)
	main = b.unit(place, "2", main, s.Features, s.Kernel, ones(b.net.Dimension), false)
	short := in
	if !allOnes(stride) {
		short.name = b.node(place+".pool", "AveragePool", []string{in.name}, ints("kernel_shape", stride), ints("strides", stride))
	}
	if short.channels != s.Features {
		short = b.unit(place+".short", "", short, s.Features, ones(b.net.Dimension), ones(b.net.Dimension), false)
	}
	sum := b.node(place+".add", "Add", []string{main.name, short.name})
	return value{b.activate(place+".act2", sum), s.Features}
}

// dropout appends a Dropout node below the full resolution, where the central
// layers are: there it tells most about the network's doubt (Kendall,
// Badrinarayanan, Cipolla 2015) and costs least.
func (b *build) dropout(place string, stage int, in value) value {
	if b.net.Dropout == 0 || stage == 0 {
		return in
	}
	const ratio = "dropout.ratio"
	if !b.ratio { // a Constant node: no initializer, which training could take for a parameter
		b.ratio = true
		b.node(ratio, "Constant", nil, onnx.TensorAttr("value", onnx.NewFloat32("", nil, []float32{float32(b.net.Dropout)})))
	}
	in.name = b.node(place+".dropout", "Dropout", []string{in.name, ratio})
	return in
}

// decode appends the stages upwards and the heads; ends are the encoder's
// stages. It returns the outputs.
func (b *build) decode(ends []value) []string {
	at := ends[len(ends)-1]
	heads := make([]string, b.net.Heads)
	for i := len(ends) - 2; i >= 0; i-- {
		s, below, place := b.net.Stages[i], b.net.Stages[i+1], fmt.Sprintf("dec.%d", i)
		up := fmt.Sprintf("up.%d", i)
		w := b.parameter(up+".weight", slices.Concat([]int{at.channels, s.Features}, below.Stride)...)
		name := b.node(up, "ConvTranspose", []string{at.name, w, b.parameter(up+".bias", s.Features)},
			ints("kernel_shape", below.Stride), ints("strides", below.Stride))
		at = value{
			b.node(place+".join", "Concat", []string{name, ends[i].name}, onnx.IntAttr("axis", 1)),
			s.Features + ends[i].channels,
		}
		for k := range s.Decode {
			at = b.unit(place, fmt.Sprint(k+1), at, s.Features, s.Kernel, ones(b.net.Dimension), true)
		}
		at = b.dropout(place, i, at)
		if i < b.net.Heads {
			heads[i] = b.head(i, at)
		}
	}
	return heads
}

func (b *build) head(i int, in value) string {
	place := fmt.Sprintf("head.%d", i)
	w := b.parameter(place+".weight", slices.Concat([]int{b.net.Classes, in.channels}, ones(b.net.Dimension))...)
	n := b.m.AddNode("Conv", []string{in.name, w, b.parameter(place+".bias", b.net.Classes)}, []string{headName(i)},
		ints("kernel_shape", ones(b.net.Dimension)))
	n.Name = place
	return headName(i)
}

func ones(n int) []int { return slices.Repeat([]int{1}, n) }

func allOnes(v []int) bool { return !slices.ContainsFunc(v, func(n int) bool { return n != 1 }) }

func ints(name string, v []int) *onnx.Attr {
	out := make([]int64, len(v))
	for i, n := range v {
		out[i] = int64(n)
	}
	return onnx.IntsAttr(name, out...)
}
