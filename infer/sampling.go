package infer

import (
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/uncertainty"
)

// Sampling says which passes an uncertainty comes from. Passes add up; the zero
// value makes the plain one only.
type Sampling struct {
	Flips    []string // one pass each: the axes along which the network sees its windows mirrored, as "", "x", "yz"; AllMirrorings alone: every subset
	Dropout  int      // passes with Monte-Carlo dropout
	Members  bool     // one pass per member of an ensemble
	Seed     uint64   // of the dropout's masks; the same seed, image and version give the same masks
	Features bool     // also the bottleneck's features
	Map      string   // the voxel map to bring to the image's grid, one of Maps; "": none
}

// The voxel maps.
const (
	MapEntropy     = "entropy"
	MapInformation = "information"
	MapVariance    = "variance"
	MapMargin      = "margin"
)

// Maps lists the voxel maps.
func Maps() []string { return []string{MapEntropy, MapInformation, MapVariance, MapMargin} }

// Measured is what the passes say about one image.
type Measured struct {
	Output                   // labels of the mean probability, on the image's grid, made like Infer's
	Maps   *uncertainty.Maps // on the network's array; classes are the network's channels, 0 and 1 for a single sigmoid
	Size   [3]int            // of the array, axes as the network's; the last one fastest
	Voxel  [3]float64        // mm along the array's axes
	// ToImage maps an index of the array to voxels of the first volume.
	ToImage imaging.Affine
	// Features are the means, over voxels and windows of an unmirrored pass
	// without dropout, of the channels of onnx.Model.Bottleneck; of an ensemble,
	// its first member's. nil when not asked for.
	Features []float32
	Map      *imaging.Volume // float32, on the image's grid; nil when not asked for
}

func (s Sampling) check() error {
	if s.Dropout < 0 || s.Dropout > uncertainty.MaxPasses {
		return fault.New(fault.Invalid, "%d passes with dropout; 0 to %d can be made", s.Dropout, uncertainty.MaxPasses)
	}
	if s.Map == "" {
		return nil
	}
	if chosenMap(&uncertainty.Maps{Entropy: []float32{}, Information: []float32{}, Variance: []float32{}, Margin: []float32{}}, s.Map) == nil {
		return fault.New(fault.Invalid, "there is no map %q; there are %q", s.Map, Maps())
	}
	return nil
}

// chosenMap returns the map of that name, nil when there is none.
func chosenMap(m *uncertainty.Maps, name string) []float32 {
	switch name {
	case MapEntropy:
		return m.Entropy
	case MapInformation:
		return m.Information
	case MapVariance:
		return m.Variance
	case MapMargin:
		return m.Margin
	}
	return nil
}

// passStep is one run over all windows of an image.
type passStep struct {
	variant  variant
	mirror   [3]bool
	sample   int  // number of a pass with dropout
	passes   int  // that it is worth: the number of members, 0 for features only
	features bool // taken from this step
}

// steps lists what is to be run.
func (s Sampling) steps(m *Manifest) (list []passStep, passes int, err error) {
	if err := s.check(); err != nil {
		return nil, 0, err
	}
	mirrors, err := m.mirrored(s.Flips)
	if err != nil {
		return nil, 0, err
	}
	if len(mirrors) == 0 && s.Dropout == 0 && !s.Members {
		mirrors = [][3]bool{{}}
	}
	features := s.Features // not yet taken
	for _, by := range mirrors {
		st := passStep{mirror: by, passes: 1}
		if features && by == ([3]bool{}) {
			st.features, st.variant.features, features = true, true, false
		}
		list = append(list, st)
	}
	for i := range s.Dropout {
		list = append(list, passStep{variant: variant{dropout: true}, sample: i, passes: 1})
	}
	if s.Members {
		n := len(m.Network.Members)
		if n == 0 {
			return nil, 0, fault.New(fault.Invalid, "the model is no ensemble: its manifest has no network.members; ask for test-time augmentation, or put folds together with voxloop model ensemble")
		}
		list = append(list, passStep{variant: variant{members: true}, passes: n})
	}
	if features {
		list = append(list, passStep{variant: variant{features: true}, features: true})
	}
	for _, st := range list {
		passes += st.passes
	}
	if passes > uncertainty.MaxPasses {
		return nil, 0, fault.New(fault.Invalid, "%d passes are asked for; at most %d can be compared", passes, uncertainty.MaxPasses)
	}
	return list, passes, nil
}
