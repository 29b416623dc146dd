package trainers

// Config says how a model is trained. The zero value of a field means the
// default that Config.WithDefaults puts in its place.
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
}
