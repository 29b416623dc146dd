package trainers

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/augment"
)

// The largest values that make sense; they keep a slip of the keyboard from
// asking for more than any machine has.
const (
	maxSteps   = 100_000_000
	maxBatch   = 4096
	maxPatch   = 4096
	maxMinutes = 60 * 24 * 365
	maxFolds   = 1000
	maxWorkers = 256
)

// wrong is a mistake at a key of the configuration.
func wrong(key, format string, args ...any) error {
	return fault.New(fault.Invalid, "training configuration: %s: %s", key, fmt.Sprintf(format, args...))
}

// Validate reports the first value that makes no sense, with its key. Zero
// values pass: they mean defaults. What hangs on the network is checked when
// the step is compiled.
func (c Config) Validate() error {
	for _, check := range []func() error{c.checkLength, c.checkStep, c.checkData, c.checkEnd, c.Optimizer.validate, c.Schedule.validate, c.Loss.validate} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c Config) checkLength() error {
	return firstError(
		within("steps", c.Steps, 0, maxSteps),
		within("epochs", c.Epochs, 0, maxSteps),
		between("minutes", c.Minutes, 0, maxMinutes),
		within("steps_per_epoch", c.StepsPerEpoch, 0, maxSteps),
	)
}

func (c Config) checkStep() error {
	if err := firstError(within("batch", c.Batch, 0, maxBatch), within("accumulate", c.Accumulate, 0, maxBatch)); err != nil {
		return err
	}
	for i, n := range c.Patch {
		if err := within(fmt.Sprintf("patch[%d]", i), n, 0, maxPatch); err != nil {
			return err
		}
	}
	for _, p := range c.Freeze {
		if _, err := path.Match(p, ""); err != nil {
			return wrong("freeze", "the pattern %q cannot be read", p)
		}
	}
	for i, w := range c.Heads {
		if err := between(fmt.Sprintf("heads[%d]", i), w, 0, math.MaxFloat32); err != nil {
			return err
		}
	}
	return firstError(
		word("from", c.From, FromModel, FromScratch),
		number("clip_norm", c.ClipNorm),
		share("ema", c.EMA),
		within("ignore_label", c.IgnoreLabel, 0, math.MaxUint16),
	)
}

func (c Config) checkData() error {
	if c.Augment != "" && c.Augment != AugmentDefault && c.Augment != AugmentNone {
		if _, err := augment.ParseRecipe([]byte(c.Augment)); err != nil {
			return wrong("augment", "is neither %s, %s nor a recipe: %v", AugmentDefault, AugmentNone, err)
		}
	}
	if c.Oversample > 1 || math.IsNaN(c.Oversample) {
		return wrong("oversample", "%g is above 1", c.Oversample)
	}
	if c.Folds > 0 && (c.Folds < 2 || c.Fold >= c.Folds) || c.Fold < 0 {
		return wrong("fold", "%d of %d folds: folds count from 0, and there must be at least 2", c.Fold, c.Folds)
	}
	if c.ValSplit >= 1 || math.IsNaN(c.ValSplit) {
		return wrong("val_split", "%g leaves nothing to train on; it must be below 1", c.ValSplit)
	}
	return firstError(within("folds", c.Folds, 0, maxFolds), within("workers", c.Workers, 0, maxWorkers))
}

func (c Config) checkEnd() error {
	return firstError(
		within("validate_every", c.ValidateEvery, 0, maxSteps),
		within("patience", c.Patience, 0, maxSteps),
		word("keep", c.Keep, KeepBest, KeepLast),
	)
}

func (o OptimizerConfig) validate() error {
	if o.Momentum >= 1 || math.IsNaN(o.Momentum) {
		return wrong("optimizer.momentum", "%g is not below 1", o.Momentum)
	}
	return firstError(
		word("optimizer.name", o.Name, optAdamW, optAdam, optSGD),
		between("optimizer.rate", o.Rate, 0, 1000),
		number("optimizer.decay", o.Decay),
		share("optimizer.beta1", o.Beta1),
		share("optimizer.beta2", o.Beta2),
	)
}

func (s ScheduleConfig) validate() error {
	return firstError(
		word("schedule.name", s.Name, schedulePoly, scheduleCosine, scheduleOneCycle, schedulePlateau, scheduleConstant),
		between("schedule.power", s.Power, 0, 100),
		share("schedule.floor", s.Floor),
		share("schedule.factor", s.Factor),
		within("schedule.patience", s.Patience, 0, maxSteps),
		within("schedule.warm_up", max(s.WarmUp, 0), 0, maxSteps),
	)
}

func (l LossConfig) validate() error {
	for i, w := range l.ClassWeights {
		if err := between(fmt.Sprintf("loss.class_weights[%d]", i), w, 0, math.MaxFloat32); err != nil {
			return err
		}
	}
	if len(l.ClassWeights) > 0 && !slices.Contains([]string{"", lossDiceCE, lossDice, lossDiceFocal}, l.Name) {
		return wrong("loss.class_weights", "do not go with %s; they go with %s, %s and %s", l.Name, lossDiceCE, lossDice, lossDiceFocal)
	}
	return firstError(
		word("loss.name", l.Name, lossDiceCE, lossDice, lossDiceFocal, lossTversky, lossGeneralizedDice, lossTopK),
		between("loss.gamma", l.Gamma, 0, 100),
		between("loss.alpha", l.Alpha, 0, 1000),
		between("loss.beta", l.Beta, 0, 1000),
		between("loss.percent", l.Percent, 0, 100),
	)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func within(key string, v, low, high int) error {
	if v < low || v > high {
		return wrong(key, "%d is not within %d..%d", v, low, high)
	}
	return nil
}

func between(key string, v, low, high float64) error {
	if !(v >= low && v <= high) {
		return wrong(key, "%g is not within %g..%g", v, low, high)
	}
	return nil
}

func share(key string, v float64) error {
	if !(v >= 0 && v < 1) {
		return wrong(key, "%g is not from 0 to below 1", v)
	}
	return nil
}

func number(key string, v float64) error {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return wrong(key, "%g is no number", v)
	}
	return nil
}

func word(key, v string, words ...string) error {
	if v != "" && !slices.Contains(words, v) {
		return wrong(key, "%q is none of %s", v, strings.Join(words, ", "))
	}
	return nil
}
