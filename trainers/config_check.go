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
	maxPerCall = 256
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
		upTo("steps", c.Steps, maxSteps),
		upTo("epochs", c.Epochs, maxSteps),
		atMost("minutes", c.Minutes, maxMinutes),
		upTo("steps_per_epoch", c.StepsPerEpoch, maxSteps),
	)
}

func (c Config) checkStep() error {
	if err := firstError(upTo("batch", c.Batch, maxBatch), upTo("accumulate", c.Accumulate, maxBatch)); err != nil {
		return err
	}
	for i, n := range c.Patch {
		if err := upTo(fmt.Sprintf("patch[%d]", i), n, maxPatch); err != nil {
			return err
		}
	}
	for _, p := range c.Freeze {
		if _, err := path.Match(p, ""); err != nil {
			return wrong("freeze", "the pattern %q cannot be read", p)
		}
	}
	for i, w := range c.Heads {
		if err := atMost(fmt.Sprintf("heads[%d]", i), w, math.MaxFloat32); err != nil {
			return err
		}
	}
	return firstError(
		word("from", c.From, FromModel, FromScratch),
		number("clip_norm", c.ClipNorm),
		share("ema", c.EMA),
		share("dropout", max(c.Dropout, 0)),
		upTo("ignore_label", c.IgnoreLabel, math.MaxUint16),
		upTo("steps_per_call", c.StepsPerCall, maxPerCall),
		c.checkCall(),
		word("precision", c.Precision, PrecisionSingle, PrecisionMixed),
	)
}

// checkCall refuses what does not go into one call with other steps.
func (c Config) checkCall() error {
	if c.StepsPerCall < 2 || c.Accumulate < 2 && c.EMA == 0 {
		return nil
	}
	return wrong("steps_per_call", "%d steps cannot be made at once together with accumulate or ema", c.StepsPerCall)
}

func (c Config) checkData() error {
	if c.Augment != "" && !slices.Contains(Augmentations(), c.Augment) {
		if _, err := augment.ParseRecipe([]byte(c.Augment)); err != nil {
			return wrong("augment", "is neither one of %s nor a recipe: %v", strings.Join(Augmentations(), ", "), err)
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
	return firstError(upTo("folds", c.Folds, maxFolds), upTo("workers", c.Workers, maxWorkers))
}

func (c Config) checkEnd() error {
	return firstError(
		upTo("validate_every", c.ValidateEvery, maxSteps),
		upTo("patience", c.Patience, maxSteps),
		word("keep", c.Keep, KeepBest, KeepLast),
	)
}

func (o OptimizerConfig) validate() error {
	if o.Momentum >= 1 || math.IsNaN(o.Momentum) {
		return wrong("optimizer.momentum", "%g is not below 1", o.Momentum)
	}
	return firstError(
		word("optimizer.name", o.Name, optAdamW, optAdam, optSGD),
		atMost("optimizer.rate", o.Rate, 1000),
		number("optimizer.decay", o.Decay),
		share("optimizer.beta1", o.Beta1),
		share("optimizer.beta2", o.Beta2),
	)
}

func (s ScheduleConfig) validate() error {
	return firstError(
		word("schedule.name", s.Name, schedulePoly, scheduleCosine, scheduleOneCycle, schedulePlateau, scheduleConstant),
		atMost("schedule.power", s.Power, 100),
		share("schedule.floor", s.Floor),
		share("schedule.factor", s.Factor),
		upTo("schedule.patience", s.Patience, maxSteps),
		upTo("schedule.warm_up", max(s.WarmUp, 0), maxSteps),
	)
}

func (l LossConfig) validate() error {
	for i, w := range l.ClassWeights {
		if err := atMost(fmt.Sprintf("loss.class_weights[%d]", i), w, math.MaxFloat32); err != nil {
			return err
		}
	}
	return firstError(
		word("loss.name", l.Name, lossDiceCE, lossDice, lossDiceFocal, lossTversky, lossGeneralizedDice, lossTopK),
		atMost("loss.gamma", l.Gamma, 100),
		atMost("loss.alpha", l.Alpha, 1000),
		atMost("loss.beta", l.Beta, 1000),
		atMost("loss.percent", l.Percent, 100),
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

func upTo(key string, v, high int) error {
	if v < 0 || v > high {
		return wrong(key, "%d is not within 0..%d", v, high)
	}
	return nil
}

func atMost(key string, v, high float64) error {
	if !(v >= 0 && v <= high) {
		return wrong(key, "%g is not within 0..%g", v, high)
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
