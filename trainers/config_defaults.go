package trainers

import "cmp"

// The defaults that Config.WithDefaults puts in place of 0. They aim at the best
// model from a few dozen small 3-D images within minutes on a CPU.
const (
	defaultMinutes    = 10
	defaultBatch      = 2
	defaultWindow     = 64  // voxels per axis where the model's window is the whole image
	defaultWindow2D   = 256 // the same of a slice
	defaultOversample = 1.0 / 3
	defaultValSplit   = 0.2
	defaultClipNorm   = 12
	defaultCache      = 2 << 30
	defaultDisk       = 20 << 30
	defaultWorkers    = 2
	defaultWarmUp     = 50

	// mostFew is up to how many training cases a training counts as one from few:
	// there a network learns the cases by heart, and smaller steps and patches
	// that are moved more often help (docs/benchmarks.md).
	mostFew = 40

	rateAdamScratch = 5e-3
	rateAdamFew     = 2.5e-3 // from few cases
	rateAdamModel   = 5e-4   // weights that know something already
	rateSGDScratch  = 1e-2
	rateSGDModel    = 1e-3
)

// WithDefaults returns c with every default in place, for a network and a
// number of training cases. What follows from measuring (the steps that Minutes
// allow, ValidateEvery) stays 0.
func (c Config) WithDefaults(s Spec, cases int) Config {
	if c.Steps == 0 && c.Epochs == 0 && c.Minutes == 0 {
		c.Minutes = defaultMinutes
	}
	c.Batch = cmp.Or(c.Batch, defaultBatch)
	c.Accumulate = cmp.Or(c.Accumulate, 1)
	c.Patch = patchOf(c.Patch, s)
	if c.StepsPerEpoch == 0 {
		perStep := max(c.Batch*c.Accumulate, 1)
		c.StepsPerEpoch = max((cases+perStep-1)/perStep, 1)
	}
	c.From = cmp.Or(c.From, FromModel)
	few := cases <= mostFew
	c.Optimizer = c.Optimizer.withDefaults(c.From, few)
	c.Schedule = c.Schedule.withDefaults()
	c.ClipNorm = cmp.Or(c.ClipNorm, defaultClipNorm)
	c.Loss = c.Loss.withDefaults()
	switch c.Augment = cmp.Or(c.Augment, AugmentDefault); {
	case c.Augment != AugmentDefault:
	case few:
		c.Augment = AugmentGentle
	default:
		c.Augment = AugmentFull
	}
	c.Oversample = cmp.Or(c.Oversample, defaultOversample)
	c.Keep = cmp.Or(c.Keep, KeepBest)
	c.ValSplit = cmp.Or(c.ValSplit, defaultValSplit)
	c.CacheBytes = cmp.Or(c.CacheBytes, defaultCache)
	c.DiskBytes = cmp.Or(c.DiskBytes, defaultDisk)
	c.Workers = cmp.Or(c.Workers, defaultWorkers)
	return c
}

// patchOf replaces the axes of a patch that are 0 by those of the window. A
// slice is one voxel thick along its first axis.
func patchOf(patch [3]int, s Spec) [3]int {
	whole := defaultWindow
	if s.Dimension == 2 {
		whole = defaultWindow2D
	}
	for i := range patch {
		if patch[i] == 0 {
			patch[i] = cmp.Or(s.Window[i], whole)
		}
	}
	if s.Dimension == 2 {
		patch[0] = 1
	}
	return patch
}

func (o OptimizerConfig) withDefaults(from string, few bool) OptimizerConfig {
	o.Name = cmp.Or(o.Name, optAdamW)
	if o.Name == optSGD {
		o.Momentum = cmp.Or(o.Momentum, 0.99)
		o.Decay = cmp.Or(o.Decay, 3e-5)
	} else {
		o.Beta1, o.Beta2 = cmp.Or(o.Beta1, 0.9), cmp.Or(o.Beta2, 0.999)
		o.Decay = cmp.Or(o.Decay, 1e-5)
	}
	if o.Rate == 0 {
		o.Rate = defaultRate(o.Name, from, few)
	}
	return o
}

func defaultRate(optimizer, from string, few bool) float64 {
	switch {
	case optimizer == optSGD && from == FromScratch:
		return rateSGDScratch
	case optimizer == optSGD:
		return rateSGDModel
	case from == FromScratch && few:
		return rateAdamFew
	case from == FromScratch:
		return rateAdamScratch
	}
	return rateAdamModel
}

func (s ScheduleConfig) withDefaults() ScheduleConfig {
	s.Name = cmp.Or(s.Name, schedulePoly)
	s.WarmUp = cmp.Or(s.WarmUp, defaultWarmUp)
	switch s.Name {
	case schedulePoly:
		s.Power = cmp.Or(s.Power, 0.9)
	case schedulePlateau:
		s.Factor = cmp.Or(s.Factor, 0.5)
		s.Patience = cmp.Or(s.Patience, 3)
	}
	return s
}

func (l LossConfig) withDefaults() LossConfig {
	l.Name = cmp.Or(l.Name, lossDiceCE)
	switch l.Name {
	case lossDiceFocal:
		l.Gamma = cmp.Or(l.Gamma, 2)
	case lossTversky:
		if l.Alpha == 0 && l.Beta == 0 {
			l.Alpha, l.Beta = 0.3, 0.7
		}
	case lossTopK:
		l.Percent = cmp.Or(l.Percent, 10)
	}
	return l
}
