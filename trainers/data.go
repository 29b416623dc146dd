package trainers

import (
	"context"

	"github.com/voxloop/voxloop/internal/onnx"
)

// Class is one output channel of the network.
type Class struct {
	Index int    `json:"index"` // channel of the network's output; 0 is the background
	Name  string `json:"name"`
	Value int    `json:"value"` // in label files
}

// Spec is what a model folder says about training: what goes into its network
// and what comes out.
type Spec struct {
	Version  string      // of the model folder's content, as the registry names it
	Network  *onnx.Model // as served, not rewritten
	Channels int         // of the input
	// Window is the size of the windows of inference along the network's array
	// axes (three numbers also for a 2-D model, whose slice axis is 1 voxel and
	// comes first).
	Window [3]int
	// Dimension is 3, or 2: then a patch is one slice.
	Dimension int
	Classes   []Class // foreground only, in the order of the manifest
	Outputs   int     // channels of the network's first output; 1: sigmoid, else softmax
	Padding   float32 // what inference puts around images smaller than a window, after normalisation
}

// Sample is one case as the network sees it.
type Sample struct {
	ID       string
	Channels int
	Size     [3]int     // voxels along the network's array axes, the last one fastest
	Spacing  [3]float64 // mm along the same axes
	Image    []float32  // [Channels, Size…], oriented, resampled and normalised as for inference
	Labels   []uint16   // [Size…], class indices; nearest neighbour on the same grid
}

// Score is how well a network segmented one case, on the image's own grid.
type Score struct {
	ID   string             `json:"id"`
	Dice map[string]float64 `json:"dice"` // per class name; a class that neither has is left out
}

// Data connects a trainer with images and with inference. It is safe for many
// goroutines.
type Data interface {
	Spec() Spec
	// Load reads and prepares one case. Errors are faults that name the case:
	// unreadable files, a label off the image's grid or with values that the
	// model does not know, voxels that are not finite.
	Load(ctx context.Context, c Case) (*Sample, error)
	// Score runs the network in place of the model's own over cases, by the
	// pipeline that serves (sliding window, back on the image's grid), and
	// compares with their labels. each is called in the order of cases.
	Score(ctx context.Context, network *onnx.Model, cases []Case, each func(Score)) error
	Close() error
}
