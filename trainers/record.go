package trainers

import (
	"runtime"
	"time"
)

// recordFormat is the value of Record.Format.
const recordFormat = 1

// Record is the content of training.json in a trained model's folder:
// everything that decided the result, and how the training went.
type Record struct {
	Format  int    `json:"format"`
	Parent  string `json:"parent,omitempty"` // version of the model it began from
	Network string `json:"network"`          // SHA-256 of the trained model.onnx
	Request string `json:"request"`          // hash of Sources: equal ones make equal models

	Sources
	Batch int    `json:"batch"` // as trained, at the end; smaller than Config's where memory was short
	Patch [3]int `json:"patch"`
	Plan  Plan   `json:"plan"`

	Steps      int                `json:"steps"`
	Skipped    int                `json:"skipped_steps,omitempty"` // their loss was not finite
	StoppedBy  string             `json:"stopped_by,omitempty"`    // patience; "": the plan was done
	Kept       string             `json:"kept"`                    // weights or average, of the best validation or the last step
	KeptStep   int                `json:"kept_step"`
	Dice       map[string]float64 `json:"dice,omitempty"` // of the model kept, over the validation cases
	Mean       float64            `json:"mean_dice,omitempty"`
	Other      *float64           `json:"other_mean_dice,omitempty"` // weights beside average, or the reverse
	Validation []Score            `json:"validation,omitempty"`      // per case
	Epochs     []EpochRecord      `json:"epochs"`
	LeftOut    []LeftOut          `json:"left_out,omitempty"`
	Warnings   []string           `json:"warnings,omitempty"`

	Code    Code      `json:"code"`
	Library Library   `json:"library"`
	Machine Machine   `json:"machine"`
	Written time.Time `json:"written"`
	Seconds float64   `json:"seconds"` // all runs together
}

// Code says which program trained.
type Code struct {
	Version string `json:"version,omitempty"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
}

// Library says which ONNX Runtime ran the steps.
type Library struct {
	Version string `json:"version"`
	Variant string `json:"variant"`
}

// Machine says where.
type Machine struct {
	System  string `json:"system"` // linux/amd64
	Cores   int    `json:"cores"`
	Threads int    `json:"threads"`
}

// record puts together what is known at the end.
func (n *Native) record(f *fit) Record {
	s := f.state
	_, judged := f.kept()
	r := Record{
		Format: recordFormat, Parent: f.spec.Version, Request: s.Request, Sources: f.sources,
		Batch: s.Size, Patch: s.Patch, Plan: s.Plan, Steps: s.Step, Skipped: s.Skipped,
		Kept: f.c.Keep + " weights", KeptStep: s.Step, Epochs: s.Epochs, LeftOut: f.leftOut, Warnings: s.Warnings,
		Code: Code{Version: n.o.Version, Commit: n.o.Commit, Go: runtime.Version()}, Library: f.library,
		Machine: Machine{System: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(), Threads: f.sources.Threads},
		Written: time.Now().UTC().Truncate(time.Second), Seconds: f.clock.spent().Seconds(),
	}
	if s.Stopped {
		r.StoppedBy = "patience"
	}
	if judged != nil {
		r.KeptStep, r.Dice, r.Mean, r.Other, r.Validation = judged.Step, judged.Dice, judged.Mean, judged.Other, judged.Cases
	}
	if judged != nil && judged.Averaged || judged == nil && f.c.EMA > 0 {
		r.Kept = f.c.Keep + " average"
	}
	return r
}

// result is what the trainer returns of a record.
func (r *Record) result(folder string) Result {
	return Result{
		Model: folder, Steps: r.Steps, Epochs: len(r.Epochs), Dice: r.Dice, Mean: r.Mean,
		Took: time.Duration(r.Seconds * float64(time.Second)), Warnings: r.Warnings,
	}
}
