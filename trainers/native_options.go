package trainers

import (
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/trainers/native"
)

// stepOptions says what c, with its defaults in place, means for a network.
func (c Config) stepOptions(s Spec) native.Options {
	shape := []int64{int64(c.Batch), int64(s.Channels)}
	for i, n := range c.Patch {
		if s.Dimension != 2 || i > 0 {
			shape = append(shape, int64(n))
		}
	}
	return native.Options{
		Shape:           shape,
		Loss:            c.Loss.build(s.Outputs == 1),
		Optimizer:       c.Optimizer.build(),
		HeadWeights:     c.Heads,
		Frozen:          c.Freeze,
		BatchStatistics: c.BatchStatistics,
		IgnoreLabel:     c.IgnoreLabel,
		ClipNorm:        max(c.ClipNorm, 0),
		Accumulate:      c.Accumulate,
		Dropout:         native.Dropout{Off: c.Dropout < 0, Ratio: max(c.Dropout, 0), Seed: c.Seed},
		Half:            c.Precision == PrecisionMixed,
		Scaling:         c.scaling(),
		Average:         native.Averaging{Decay: c.EMA, WarmUp: c.EMA > 0},
	}
}

// firstScale is what the loss is multiplied by at first in mixed precision, as in
// PyTorch's GradScaler; it finds its height by itself.
const firstScale = 1 << 16

func (c Config) scaling() native.Scaling {
	if c.Precision != PrecisionMixed {
		return native.Scaling{}
	}
	return native.Scaling{Initial: firstScale}
}

func (o OptimizerConfig) build() native.Optimizer {
	decay, momentum := max(o.Decay, 0), max(o.Momentum, 0)
	switch o.Name {
	case optSGD:
		return native.SGD{Momentum: momentum, Nesterov: momentum > 0, Decay: decay}
	case optAdam:
		return native.Adam{Beta1: o.Beta1, Beta2: o.Beta2, Decay: decay}
	}
	return native.Adam{Beta1: o.Beta1, Beta2: o.Beta2, Decay: decay, Decoupled: true}
}

// build makes the loss; sigmoid is for networks with one output channel.
func (l LossConfig) build(sigmoid bool) native.Loss {
	dice := native.Dice{Sigmoid: sigmoid, Weights: l.ClassWeights}
	w := l.ClassWeights
	switch l.Name {
	case lossDice:
		return dice
	case lossDiceFocal:
		focal := native.Focal{Sigmoid: sigmoid, Gamma: l.Gamma, Weights: w}
		return native.Combined{{Weight: 1, Loss: dice}, {Weight: 1, Loss: focal}}
	case lossTversky:
		return native.Tversky{Sigmoid: sigmoid, Alpha: l.Alpha, Beta: l.Beta, Weights: w}
	case lossGeneralizedDice:
		return native.GeneralizedDice{Sigmoid: sigmoid, Weights: w}
	case lossTopK:
		return native.TopK{Percent: l.Percent, Weights: w}
	}
	return native.Combined{{Weight: 1, Loss: dice}, {Weight: 1, Loss: native.CrossEntropy{Weights: w}}}
}

// fits reports what of c does not go with a network.
func (c Config) fits(s Spec) error {
	if n := len(c.Loss.ClassWeights); n > 0 && n != s.Outputs {
		return wrong("loss.class_weights", "there are %d where the network has %d output channels, the background included", n, s.Outputs)
	}
	for _, class := range s.Classes {
		if c.IgnoreLabel > 0 && class.Index == c.IgnoreLabel {
			return wrong("ignore_label", "%d is the class %s; take a number that no class has", c.IgnoreLabel, class.Name)
		}
	}
	if len(s.Classes) == 0 {
		return fault.New(fault.Invalid, "the model has no labels to be trained on")
	}
	return nil
}
