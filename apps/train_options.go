package apps

import (
	"context"
	"os"

	"github.com/voxloop/voxloop/internal/fault"
)

// TrainingOptions tune the app's trainings. The zero value offers none.
type TrainingOptions struct {
	Enabled bool   // models that can learn are trainers, as are those of app.yaml
	Resume  bool   // take up what an earlier server left unfinished; else it counts as stopped
	Threads int    // of a training; 0: all cores
	Nice    int    // added to its niceness; 0 means 10, less than 0 none
	Keep    int    // candidates kept per model; 0 means 10
	Library string // an own ONNX Runtime library for the native trainer

	// Command is the native trainer: a program that reads a request and writes
	// events (trainers.Process). nil: this executable with "train --child".
	Command []string
	// Publish decides what becomes of a finished training, and says it in one
	// line. nil: nothing; the candidate stays where it is.
	Publish func(ctx context.Context, c Candidate) (string, error)
}

const defaultKeep = 10

func (o TrainingOptions) withDefaults() (TrainingOptions, error) {
	if o.Keep <= 0 {
		o.Keep = defaultKeep
	}
	if o.Enabled && o.Command == nil {
		exe, err := os.Executable()
		if err != nil {
			return o, fault.Wrap(fault.Unavailable, err, "the program that trains cannot be found")
		}
		o.Command = []string{exe, "train", "--child"}
	}
	return o, nil
}
