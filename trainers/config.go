package trainers

// Config says how a model is trained. The zero value of a field means the
// default that Config.WithDefaults puts in its place; where 0 itself would mean
// something, a negative number says it. docs/training.md explains every key.
type Config struct {
	Seed uint64 `json:"seed" yaml:"seed"`

	// How long: the first that is set counts. Minutes is turned into steps after
	// the first measured ones; the plan then stands and is recorded.
	Steps   int     `json:"steps,omitempty" yaml:"steps"`
	Epochs  int     `json:"epochs,omitempty" yaml:"epochs"`
	Minutes float64 `json:"minutes,omitempty" yaml:"minutes"`
	// StepsPerEpoch is the length of an epoch; 0: every training case once.
	StepsPerEpoch int `json:"steps_per_epoch,omitempty" yaml:"steps_per_epoch"`

	Batch      int    `json:"batch,omitempty" yaml:"batch"` // patches per step
	Patch      [3]int `json:"patch,omitempty" yaml:"patch"` // along the network's array axes; 0: the window's
	Accumulate int    `json:"accumulate,omitempty" yaml:"accumulate"`

	StepsPerCall int    `json:"steps_per_call,omitempty" yaml:"steps_per_call"` // steps that the library makes at once, with the state on the device; 0: 8 on cuda where they go together, else 1
	Precision    string `json:"precision,omitempty" yaml:"precision"`           // single (the default), or mixed: products in half precision, on cuda

	From   string   `json:"from,omitempty" yaml:"from"`     // model: its weights; scratch: new random ones
	Freeze []string `json:"freeze,omitempty" yaml:"freeze"` // patterns (path.Match) of parameters that keep their values

	Optimizer OptimizerConfig `json:"optimizer" yaml:"optimizer"`
	Schedule  ScheduleConfig  `json:"schedule" yaml:"schedule"`
	ClipNorm  float64         `json:"clip_norm,omitempty" yaml:"clip_norm"` // bound of the gradient's L2 norm; negative: none
	EMA       float64         `json:"ema,omitempty" yaml:"ema"`             // decay of the weights' moving average; 0: none is kept

	Loss        LossConfig `json:"loss" yaml:"loss"`
	Heads       []float64  `json:"heads,omitempty" yaml:"heads"`               // weights of the network's outputs (deep supervision); none: halved from output to output
	IgnoreLabel int        `json:"ignore_label,omitempty" yaml:"ignore_label"` // class index of voxels that do not count; 0: none

	// BatchStatistics trains batch normalisation on the batch's statistics; the
	// running ones follow. Otherwise they are constants.
	BatchStatistics bool `json:"batch_statistics,omitempty" yaml:"batch_statistics"`

	Dropout float64 `json:"dropout,omitempty" yaml:"dropout"` // ratio of the network's Dropout nodes; 0: their own; negative: none drops

	Augment    string  `json:"augment,omitempty" yaml:"augment"`       // default, none, or a recipe's text
	Oversample float64 `json:"oversample,omitempty" yaml:"oversample"` // share of the patches with foreground in their middle; negative: none

	ValidateEvery int     `json:"validate_every,omitempty" yaml:"validate_every"` // epochs; 0: about ten times in a training
	Patience      int     `json:"patience,omitempty" yaml:"patience"`             // validations in a row without a better one that end the training; 0: none do
	Keep          string  `json:"keep,omitempty" yaml:"keep"`                     // best: the model of the best validation; last
	ValSplit      float64 `json:"val_split,omitempty" yaml:"val_split"`           // share of the subjects that validate; negative: none
	Folds         int     `json:"folds,omitempty" yaml:"folds"`                   // above 1: cross-validation; Fold validates and the others train
	Fold          int     `json:"fold,omitempty" yaml:"fold"`                     // from 0

	MemoryBytes int64 `json:"memory_bytes,omitempty" yaml:"memory_bytes"`         // that a step may take; 0: what is free
	CacheBytes  int64 `json:"cache_bytes,omitempty" yaml:"cache_bytes"`           // of prepared cases in memory; negative: none
	DiskBytes   int64 `json:"cache_disk_bytes,omitempty" yaml:"cache_disk_bytes"` // of prepared cases beyond those, on the work folder's disk; negative: none
	Workers     int   `json:"workers,omitempty" yaml:"workers"`                   // that prepare batches while a step runs
}

// OptimizerConfig chooses how gradients change the weights.
type OptimizerConfig struct {
	Name     string  `json:"name,omitempty" yaml:"name"`         // adamw, adam or sgd (with Nesterov's momentum)
	Rate     float64 `json:"rate,omitempty" yaml:"rate"`         // learning rate at its height
	Decay    float64 `json:"decay,omitempty" yaml:"decay"`       // of the weights; negative: none
	Momentum float64 `json:"momentum,omitempty" yaml:"momentum"` // sgd; negative: none
	Beta1    float64 `json:"beta1,omitempty" yaml:"beta1"`       // adam, adamw
	Beta2    float64 `json:"beta2,omitempty" yaml:"beta2"`
}

// ScheduleConfig says how the learning rate goes.
type ScheduleConfig struct {
	Name     string  `json:"name,omitempty" yaml:"name"`         // poly, cosine, onecycle, plateau or constant
	WarmUp   int     `json:"warm_up,omitempty" yaml:"warm_up"`   // steps in which the rate rises to its height; negative: none
	Power    float64 `json:"power,omitempty" yaml:"power"`       // poly: (1 - step/steps)^power
	Floor    float64 `json:"floor,omitempty" yaml:"floor"`       // cosine, onecycle, plateau: lowest rate as a share of the highest
	Factor   float64 `json:"factor,omitempty" yaml:"factor"`     // plateau: what the rate is multiplied by
	Patience int     `json:"patience,omitempty" yaml:"patience"` // plateau: validations without a better one before that
}

// LossConfig chooses what training makes small.
type LossConfig struct {
	Name         string    `json:"name,omitempty" yaml:"name"`                   // dice_ce, dice, dice_focal, tversky, generalized_dice or top_k
	ClassWeights []float64 `json:"class_weights,omitempty" yaml:"class_weights"` // per output channel, background first
	Gamma        float64   `json:"gamma,omitempty" yaml:"gamma"`                 // dice_focal
	Alpha        float64   `json:"alpha,omitempty" yaml:"alpha"`                 // tversky: weight of false positives
	Beta         float64   `json:"beta,omitempty" yaml:"beta"`                   // tversky: weight of false negatives
	Percent      float64   `json:"percent,omitempty" yaml:"percent"`             // top_k: share of the hardest voxels
}

// The words of a Config.
const (
	FromModel   = "model"
	FromScratch = "scratch"

	KeepBest = "best"
	KeepLast = "last"

	PrecisionSingle = "single"
	PrecisionMixed  = "mixed"

	AugmentDefault = "default" // AugmentGentle for few cases, else AugmentFull
	AugmentFull    = "full"    // augment.Default
	AugmentGentle  = "gentle"  // augment.Gentle
	AugmentNone    = "none"

	optAdamW = "adamw"
	optAdam  = "adam"
	optSGD   = "sgd"

	schedulePoly     = "poly"
	scheduleCosine   = "cosine"
	scheduleOneCycle = "onecycle"
	schedulePlateau  = "plateau"
	scheduleConstant = "constant"

	lossDiceCE          = "dice_ce"
	lossDice            = "dice"
	lossDiceFocal       = "dice_focal"
	lossTversky         = "tversky"
	lossGeneralizedDice = "generalized_dice"
	lossTopK            = "top_k"
)
