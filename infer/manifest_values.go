package infer

import (
	"encoding/hex"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

func (m *Manifest) setDefaults() {
	m.Type, m.Dimension = typeSegmentation, 3
	m.Orientation, m.Interpolation = stored, interpLinear
	m.Network.setDefaults()
	m.Window.setDefaults()
}

func (s *NetworkSpec) setDefaults() { s.Axes, s.SliceAxis = axesXYZ, "z" }

func (s *InputSpec) setDefaults() { s.Required = true }

func (s *LinearStep) setDefaults() { s.To = [2]float64{0, 1} }

func (s *MinMaxStep) setDefaults() { s.To, s.Scope = [2]float64{0, 1}, scopeChannel }

func (s *ZScoreStep) setDefaults() { s.Voxels, s.Scope = voxelsAll, scopeChannel }

func (s *PercentileStep) setDefaults() { s.To, s.Scope = [2]float64{0, 1}, scopeChannel }

func (s *CropSpec) setDefaults() { s.Margin, s.When = Three{0}, afterNormalize }

func (s *WindowSpec) setDefaults() {
	s.Multiple, s.Batch = 1, 1
	s.Overlap, s.SigmaScale = Three{0.25}, Three{0.125}
	s.Blend, s.Padding = blendGaussian, "constant"
}

func (s *OutputSpec) setDefaults() {
	s.Activation, s.Restore, s.Threshold = activationSoftmax, restoreScores, 0.5
}

// setDefaults marks the value as missing: checkLabels refuses it.
func (s *LabelSpec) setDefaults() { s.Value = -1 }

func (s *KeepLargest) setDefaults() {
	s.EachAlone, s.Connectivity, s.Count, s.When = true, 26, 1, afterRestore
}

var sourcePattern = regexp.MustCompile(`^(image|guidance|previous_label|constant)(?:\[([^\[\]]+)\])?$`)

func (s *Source) decodeNode(n *yaml.Node, path string) error {
	m := sourcePattern.FindStringSubmatch(n.Value)
	if n.Kind != yaml.ScalarNode || m == nil {
		return keyErrorf(path, "%s is none of image[MODALITY], guidance[LABEL], previous_label, previous_label[LABEL], constant (line %d)", nodeName(n), n.Line)
	}
	s.Kind, s.Arg = SourceKind(m[1]), m[2]
	return nil
}

func (s *SpacingSpec) decodeNode(n *yaml.Node, path string) error {
	if n.Kind == yaml.ScalarNode && n.Value == native {
		*s = SpacingSpec{}
		return nil
	}
	v, err := numbers(n, path)
	if err != nil {
		return err
	}
	if len(v) != 3 {
		return keyErrorf(path, "native or three sizes in mm are needed here, not %d (line %d)", len(v), n.Line)
	}
	copy(s[:], v)
	return nil
}

func (t *Three) decodeNode(n *yaml.Node, path string) error {
	v, err := numbers(n, path)
	*t = v
	return err
}

func (s *WindowSize) decodeNode(n *yaml.Node, path string) error {
	if n.Kind == yaml.ScalarNode && n.Value == whole {
		*s = nil
		return nil
	}
	if n.Kind != yaml.SequenceNode || !allInts(n) || n.Decode((*[]int)(s)) != nil {
		return keyErrorf(path, "image or a list of whole numbers is needed here, not %s (line %d)", nodeName(n), n.Line)
	}
	return nil
}

func (c *Colour) decodeNode(n *yaml.Node, path string) error {
	if n.Kind == yaml.SequenceNode {
		var v []uint8
		if allInts(n) && n.Decode(&v) == nil && len(v) == 3 {
			copy(c[:], v)
			return nil
		}
	}
	if b, err := hex.DecodeString(strings.TrimPrefix(n.Value, "#")); err == nil && len(b) == 3 && n.Kind == yaml.ScalarNode {
		copy(c[:], b)
		return nil
	}
	return keyErrorf(path, `"#rrggbb" or [red, green, blue] of 0..255 is needed here (line %d)`, n.Line)
}

// allInts reports whether a list holds whole numbers only; yaml would cut
// fractions off.
func allInts(n *yaml.Node) bool {
	return !slices.ContainsFunc(n.Content, func(c *yaml.Node) bool { return c.ShortTag() != "!!int" })
}

// numbers decodes one finite number or a list of them.
func numbers(n *yaml.Node, path string) ([]float64, error) {
	var one float64
	var list []float64
	switch {
	case n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null" && n.Decode(&one) == nil:
		list = []float64{one}
	case n.Kind == yaml.SequenceNode && n.Decode(&list) == nil:
	default:
		return nil, keyErrorf(path, "a number or a list of numbers is needed here, not %s (line %d)", nodeName(n), n.Line)
	}
	for _, v := range list {
		if !finite(v) {
			return nil, keyErrorf(path, "%g is no finite number (line %d)", v, n.Line)
		}
	}
	return list, nil
}

// axis returns the value of axis i when t was written as one number or as a
// list.
func (t Three) axis(i int) float64 {
	if len(t) == 1 {
		return t[0]
	}
	return t[i]
}
