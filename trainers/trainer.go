package trainers

import (
	"context"
	"time"
)

// Trainer makes a trained model out of another one. Implementations may be used
// by one training at a time.
type Trainer interface {
	// Train works until the plan is done or ctx ends, and returns what it made.
	// report is called from one goroutine at a time and must be quick. Training
	// again with the same request, after a crash or a stop, continues from the
	// last checkpoint in Request.Work. Errors are faults: Invalid names the
	// case, the key or the node at fault, NoSpace a full disk, Canceled a stop.
	Train(ctx context.Context, r Request, report func(Event)) (Result, error)
}

// Role is what a case is used for.
type Role string

// The roles of a case.
const (
	Train    Role = "train"
	Validate Role = "validate" // never trained on
)

// Case is one labelled image.
type Case struct {
	ID           string   `json:"id"`
	Subject      string   `json:"subject,omitempty"` // cases of one subject are never on both sides of a split; "": the id
	Images       []string `json:"images"`            // absolute paths; several files are the channels in order
	Label        string   `json:"label"`             // absolute path
	LabelVersion int      `json:"label_version,omitempty"`
	LabelSum     string   `json:"label_sha256,omitempty"`
	Role         Role     `json:"role"`
}

// Request is everything that decides a training. It is one JSON object: the
// first line that a child process reads.
type Request struct {
	Protocol int    `json:"protocol"` // 1
	Model    string `json:"model"`    // folder with manifest.yaml and model.onnx to start from
	Out      string `json:"out"`      // folder to be made: the trained model; must not exist
	Work     string `json:"work"`     // folder for checkpoints; may be empty or hold an interrupted training of the same request
	Cases    []Case `json:"cases"`
	Config   Config `json:"config"`

	// What the machine gives; no part of what decides the result but for Threads.
	Device  string `json:"device"`            // cpu or cuda
	Threads int    `json:"threads,omitempty"` // 0: all cores
	Library string `json:"library,omitempty"` // path of ONNX Runtime's library; "": the installed one
}

// ProtocolVersion is the value of Request.Protocol.
const ProtocolVersion = 1

// EventKind says what an Event tells.
type EventKind string

// The events.
const (
	Started    EventKind = "started"    // the plan: Steps, Epochs, Batch, Patch
	Progress   EventKind = "progress"   // at most a few times a second
	Validated  EventKind = "validated"  // Scores of the epoch's model
	Warned     EventKind = "warning"    // Message: what was left out or changed, and why
	Checkpoint EventKind = "checkpoint" // the work up to Step survives a kill
	Finished   EventKind = "finished"   // Result
	Broke      EventKind = "failed"     // Message and Fault
)

// Event is one line of a training's report. Fields that an event does not tell
// are absent.
type Event struct {
	Kind    EventKind `json:"event"`
	Message string    `json:"message,omitempty"`
	Fault   string    `json:"fault,omitempty"` // of Broke: the kind's name

	Step   int `json:"step,omitempty"` // steps made
	Steps  int `json:"steps,omitempty"`
	Epoch  int `json:"epoch,omitempty"` // from 1
	Epochs int `json:"epochs,omitempty"`
	Batch  int `json:"batch,omitempty"`
	// Patch is the size of a training patch in voxels along the network's array axes.
	Patch []int `json:"patch,omitempty"`

	Loss    float64 `json:"loss,omitempty"` // mean of the epoch so far
	Rate    float64 `json:"rate,omitempty"` // learning rate
	Samples float64 `json:"samples_per_s,omitempty"`
	ETA     float64 `json:"eta_s,omitempty"`

	Dice   map[string]float64 `json:"dice,omitempty"` // of Validated: mean per class name over the validation cases
	Mean   float64            `json:"mean_dice,omitempty"`
	Best   bool               `json:"best,omitempty"` // the best so far
	Result *Result            `json:"result,omitempty"`
}

// Result is a finished training.
type Result struct {
	Model    string             `json:"model"` // the folder: Request.Out
	Steps    int                `json:"steps"`
	Epochs   int                `json:"epochs"`
	Dice     map[string]float64 `json:"dice,omitempty"` // of the model kept, mean per class; nil without validation cases
	Mean     float64            `json:"mean_dice,omitempty"`
	Took     time.Duration      `json:"took_ns"`
	Warnings []string           `json:"warnings,omitempty"`
}
