package trainers

import (
	"context"
	"maps"
	"strings"

	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/trainers/native"
)

// nativeStep is a native.Step with the program that it runs.
type nativeStep struct {
	*native.Step
	program *native.Program
}

var _ stepper = nativeStep{}

// Run implements stepper.
func (s nativeStep) Run(ctx context.Context, b batch, p native.Pace) (float64, error) {
	return s.RunAt(ctx, b.images, b.labels, p)
}

// RunMany implements stepper.
func (s nativeStep) RunMany(ctx context.Context, b batch, paces []native.Pace) ([]float64, error) {
	return s.RunSteps(ctx, b.images, b.labels, paces)
}

// Model implements stepper.
func (s nativeStep) Model(st native.State) (*onnx.Model, error) { return s.program.Model(st) }

// Names of vectors in a step's state that are no values of the network.
var workPrefixes = []string{"voxloop.moment", "voxloop.average", "voxloop.scaling"}

// values returns the vectors that hold the network's values.
func values(s native.State) map[string][]float32 {
	out := maps.Clone(s.Vectors)
	maps.DeleteFunc(out, func(name string, _ []float32) bool {
		for _, p := range workPrefixes {
			if strings.HasPrefix(name, p) {
				return true
			}
		}
		return false
	})
	return out
}
