// Package infer runs segmentation networks on volumes: manifests, the registry
// of models in service, and the pipeline from the scanner's grid to the
// network's windows and back.
//
// A model is a folder with model.onnx and manifest.yaml. Network tensors are
// [N, C, X, Y, Z] with Z fastest (axes: xyz, as MONAI) or [N, C, Z, Y, X] with
// X fastest (axes: zyx, the order of a NIfTI file).
package infer

import (
	"time"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/ordered"
)

// State is where a model is in its life.
type State string

// The states of a model.
const (
	Loading     State = "loading"
	Ready       State = "ready"
	Unavailable State = "unavailable" // with a reason
)

// Label is one class a model can write.
type Label struct {
	Name  string
	Value int // written to the label map; 0 is background
	Color [3]uint8
}

// Info is what clients are told about a model.
type Info struct {
	Name        string
	Type        string // segmentation, deepedit, deepgrow, …
	Description string
	Dimension   int // 2 or 3
	Labels      []Label
	Channels    int          // image channels that a caller must supply
	Config      *ordered.Map // flat options shown to clients; includes "device": ["…"]
	Version     string       // hash of the model folder's content
	State       State
	Reason      string // why it is unavailable
}

// Input is one case. Volumes are the image channels in the manifest's order; a
// single volume with several channels supplies them all.
type Input struct {
	Volumes  []*imaging.Volume
	Guidance map[string][][3]int // label name → clicked voxels (x, y, z) of the image's grid
	Previous *imaging.LabelMap   // an earlier label on the image's grid, for models that take one
}

// Options are a caller's wishes for one inference. The zero value takes the
// manifest's settings.
type Options struct {
	Overlap          float64 // window overlap in (0, 1); 0: the manifest's
	LargestComponent *bool   // keep only the largest component of every label; nil: the manifest's post-processing
}

// Stage is the time and the memory that one step of an inference took.
type Stage struct {
	Name     string // queue, prepare, network (the network itself), blend, restore, post
	Duration time.Duration
	Bytes    int64 // allocated or written for the step; 0 when not counted
}

// Output is a finished segmentation on the exact grid of the first volume.
type Output struct {
	Labels  *imaging.LabelMap
	Model   Info
	Device  string // provider that ran it: cpu, openvino, cuda
	Windows int
	Stages  []Stage
}
