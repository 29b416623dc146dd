package infer

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/transform"
)

// modelTypes are the types that clients of the protocol know; the interactive
// ones send clicks.
var modelTypes = []string{typeSegmentation, "annotation", "deepedit", "deepgrow", "scribbles", "others"}

// check reports the first thing that is wrong with a manifest by itself. What
// hangs on the network is checked by bind.
func (m *Manifest) check() error {
	for _, c := range []func() error{
		m.checkHead, m.checkGrid, m.checkInputs, m.checkScopes, m.checkCrop, m.checkWindow, m.checkOutputs, m.checkLabels, m.checkRules, m.checkPost,
	} {
		if err := c(); err != nil {
			return err
		}
	}
	return nil
}

func (m *Manifest) checkHead() error {
	if err := oneOf("type", m.Type, modelTypes...); err != nil {
		return err
	}
	if m.Dimension != 2 && m.Dimension != 3 {
		return keyErrorf("dimension", "%d is neither 2 nor 3", m.Dimension)
	}
	if err := oneOf("network.axes", m.Network.Axes, axesXYZ, axesZYX); err != nil {
		return err
	}
	if d := m.Network.Dropout; !(d >= 0 && d < 1) {
		return keyErrorf("network.dropout", "%g is no ratio from 0 to below 1", d)
	}
	return oneOf("network.slice_axis", m.Network.SliceAxis, "x", "y", "z")
}

func (m *Manifest) checkGrid() error {
	if m.Orientation != stored {
		if _, _, err := (imaging.Grid{Size: [3]int{1, 1, 1}, Affine: imaging.Identity()}).Orient(m.Orientation); err != nil {
			return keyErrorf("orientation", "%q is neither %s nor three letters, one each of L/R, P/A, I/S", m.Orientation, stored)
		}
	}
	for i, s := range m.Spacing {
		if !(s >= 0 && s <= 1000) {
			return keyErrorf(fmt.Sprintf("spacing[%d]", i), "%g is no voxel size in mm (0 keeps the image's)", s)
		}
	}
	return oneOf("interpolation", m.Interpolation, interpLinear, interpNearest)
}

func (m *Manifest) checkInputs() error {
	if len(m.Inputs) == 0 {
		return keyErrorf("inputs", "is missing; list the channels of the network's input in order")
	}
	optional := false
	for i := range m.Inputs {
		in, at := &m.Inputs[i], fmt.Sprintf("inputs[%d]", i)
		switch {
		case in.Source.Kind == "":
			return keyErrorf(at+".source", "is missing")
		case in.Source.Kind == SourceImage && in.Required && optional:
			return keyErrorf(at+".required", "an image that is needed comes after one that may be missing; put those last")
		case in.Source.Kind != SourceImage && !in.Required:
			return keyErrorf(at+".required", "only a channel of source image may be missing")
		case in.Missing != 0 && in.Required:
			return keyErrorf(at+".missing", "fills a channel that may be missing; this one is required")
		case in.Source.Kind == SourceGuidance && in.Source.Arg == "":
			return keyErrorf(at+".source", "guidance needs a label: guidance[LABEL]")
		case in.Source.Kind == SourceGuidance && m.Type == typeSegmentation:
			return keyErrorf(at+".source", "clients send no clicks to a model of type segmentation; use type: deepedit or deepgrow")
		case in.Source.Kind == SourceConstant && in.Source.Arg != "":
			return keyErrorf(at+".source", "a constant takes no argument; put the number under value")
		case (in.Source.Kind == SourceConstant) != (in.Value != nil):
			return keyErrorf(at+".value", "belongs to a channel of source constant, and is needed there")
		case in.Sigma != nil && (in.Source.Kind != SourceGuidance || !(*in.Sigma >= 0 && *in.Sigma <= 100)):
			return keyErrorf(at+".sigma", "belongs to a channel of source guidance, from 0 to 100 voxels")
		}
		optional = optional || !in.Required
		if err := in.checkSteps(at); err != nil {
			return err
		}
	}
	return m.checkArgs()
}

// checkArgs checks that channels name labels of the model.
func (m *Manifest) checkArgs() error {
	for i, in := range m.Inputs {
		if in.Source.Arg == "" || in.Source.Kind == SourceImage {
			continue
		}
		ok := in.Source.Kind == SourceGuidance && (in.Source.Arg == "background" || in.Source.Arg == "foreground")
		for _, l := range m.Labels {
			ok = ok || l.Name == in.Source.Arg
		}
		if !ok {
			return keyErrorf(fmt.Sprintf("inputs[%d].source", i), "%s names no label of this model", in.Source)
		}
	}
	return nil
}

func (in *InputSpec) checkSteps(at string) error {
	for k, s := range in.Normalize {
		path := fmt.Sprintf("%s.normalize[%d]", at, k)
		name, scope, err := s.checkOne(path)
		if err != nil {
			return err
		}
		if scope != "" {
			if err := oneOf(join(join(path, name), "scope"), scope, scopeChannel, scopeAll); err != nil {
				return err
			}
		}
		if scope == scopeAll && in.Source.Kind != SourceImage {
			return keyErrorf(join(join(path, name), "scope"), "all means all image channels; this channel is none")
		}
	}
	return nil
}

// checkOne checks one step and returns its name and scope.
func (s *Step) checkOne(path string) (name, scope string, err error) {
	set := 0
	if s.Linear != nil {
		set, name = set+1, "linear"
		if s.Linear.From[0] == s.Linear.From[1] {
			err = keyErrorf(path+".linear.from", "is missing, or both ends are %g", s.Linear.From[0])
		}
	}
	if s.Clip != nil {
		set, name = set+1, "clip"
		if s.Clip[0] > s.Clip[1] {
			err = keyErrorf(path+".clip", "the lower end %g is above the upper end %g", s.Clip[0], s.Clip[1])
		}
	}
	if s.MinMax != nil {
		set, name, scope = set+1, "minmax", s.MinMax.Scope
	}
	if s.ZScore != nil {
		set, name, scope = set+1, "zscore", s.ZScore.Scope
		err = oneOf(path+".zscore.voxels", s.ZScore.Voxels, voxelsAll, voxelsNonzero, voxelsForeground)
		if s.ZScore.Voxels == voxelsForeground && scope == scopeAll {
			err = keyErrorf(path+".zscore.voxels", "foreground is found in every channel by itself: it goes with scope: channel")
		}
	}
	if s.Percentile != nil {
		set, name, scope = set+1, "percentile", s.Percentile.Scope
		if p := s.Percentile.Percent; !(p[0] >= 0 && p[0] < p[1] && p[1] <= 100) {
			err = keyErrorf(path+".percentile.percent", "%g and %g must rise within 0..100", p[0], p[1])
		}
	}
	more, one, wrong := s.checkHarmonizing(path)
	if more > 0 {
		set, name, err = set+more, one, wrong
	}
	if set != 1 {
		err = keyErrorf(path, "exactly one step belongs here: linear, clip, minmax, zscore, percentile, ct, nnunet_zscore, histogram_normalize or harmonize")
	}
	return name, scope, err
}

func (s *Step) scope() string {
	switch {
	case s.MinMax != nil:
		return s.MinMax.Scope
	case s.ZScore != nil:
		return s.ZScore.Scope
	case s.Percentile != nil:
		return s.Percentile.Scope
	}
	return scopeChannel
}

// checkScopes makes sure that a step over all image channels is there for all
// of them.
func (m *Manifest) checkScopes() error {
	var first *InputSpec
	for i := range m.Inputs {
		in := &m.Inputs[i]
		if in.Source.Kind != SourceImage {
			continue
		}
		if first == nil {
			first = in
			continue
		}
		if joint(first) || joint(in) {
			if !equalSteps(first.Normalize, in.Normalize) {
				return keyErrorf(fmt.Sprintf("inputs[%d].normalize", i), "a step with scope: all needs the same list of steps for every image channel")
			}
		}
	}
	return nil
}

func joint(in *InputSpec) bool {
	for i := range in.Normalize {
		if in.Normalize[i].scope() == scopeAll {
			return true
		}
	}
	return false
}

func equalSteps(a, b []Step) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !equal(a[i].Linear, b[i].Linear) || !equal(a[i].Clip, b[i].Clip) || !equal(a[i].MinMax, b[i].MinMax) ||
			!equal(a[i].ZScore, b[i].ZScore) || !equal(a[i].Percentile, b[i].Percentile) || !equalHarmonizing(&a[i], &b[i]) {
			return false
		}
	}
	return true
}

func equal[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

func (m *Manifest) checkCrop() error {
	if m.Crop == nil {
		return nil
	}
	if n := len(m.Crop.Margin); n != 1 && n != 3 {
		return keyErrorf("crop.margin", "one number or three are needed, not %d", n)
	}
	for _, v := range m.Crop.Margin {
		if !(v >= 0 && v <= 10000 && v == math.Trunc(v)) {
			return keyErrorf("crop.margin", "%g is no number of voxels", v)
		}
	}
	return oneOf("crop.when", m.Crop.When, beforeNormalize, afterNormalize)
}

func (m *Manifest) checkWindow() error {
	w := &m.Window
	if n := len(w.Size); n != 0 && n != m.Dimension {
		return keyErrorf("window.size", "%d numbers for %d dimensions", n, m.Dimension)
	}
	for i, s := range w.Size {
		if s < 1 || s > 4096 {
			return keyErrorf(fmt.Sprintf("window.size[%d]", i), "%d is no number of voxels from 1 to 4096", s)
		}
	}
	if w.Multiple < 1 || w.Multiple > 1024 || w.Multiple > 1 && len(w.Size) > 0 {
		return keyErrorf("window.multiple", "%d: a number from 1 to 1024 that goes with size: image", w.Multiple)
	}
	if err := w.Overlap.check("window.overlap", m.Dimension, func(v float64) bool { return v >= 0 && v < 1 }, "from 0 to below 1"); err != nil {
		return err
	}
	if err := w.SigmaScale.check("window.sigma_scale", m.Dimension, func(v float64) bool { return v > 0 && v <= 10 }, "above 0, at most 10"); err != nil {
		return err
	}
	if err := oneOf("window.blend", w.Blend, blendConstant, blendGaussian); err != nil {
		return err
	}
	if _, err := transform.ParsePadMode(string(w.Padding)); err != nil {
		return keyErrorf("window.padding", "%v", err)
	}
	if w.Batch < 1 || w.Batch > 256 {
		return keyErrorf("window.batch", "%d is no number of windows from 1 to 256", w.Batch)
	}
	return nil
}

func (t Three) check(path string, dimension int, ok func(float64) bool, want string) error {
	if n := len(t); n != 1 && n != dimension {
		return keyErrorf(path, "one number or %d are needed, not %d", dimension, n)
	}
	for _, v := range t {
		if !ok(v) {
			return keyErrorf(path, "%g is not %s", v, want)
		}
	}
	return nil
}

func (m *Manifest) checkOutputs() error {
	if len(m.Outputs) == 0 {
		return keyErrorf("outputs", "is missing; say how the network's output becomes labels")
	}
	for i := range m.Outputs {
		o, at := &m.Outputs[i], fmt.Sprintf("outputs[%d]", i)
		if o.Decision == "" {
			o.Decision = decideArgmax
			if o.Activation == activationSigmoid {
				o.Decision = decideThreshold
			}
		}
		err := errors.Join(
			oneOf(at+".activation", o.Activation, activationSoftmax, activationSigmoid, activationNone),
			oneOf(at+".decision", o.Decision, decideArgmax, decideThreshold),
			oneOf(at+".restore", o.Restore, restoreScores, restoreLabels),
		)
		switch {
		case err != nil:
		case o.Decision == decideArgmax && len(o.Priority) > 0:
			err = keyErrorf(at+".priority", "belongs to decision: threshold; with argmax the largest score decides")
		case o.Index < 0:
			err = keyErrorf(at+".index", "%d is below 0", o.Index)
		case o.Name != "" && o.Index != 0:
			err = keyErrorf(at+".index", "give name or index, not both")
		case o.ElseValue < 0 || o.ElseValue > math.MaxUint16:
			err = keyErrorf(at+".else_value", "%d is not in 0..65535", o.ElseValue)
		case o.Activation != activationNone && !(o.Threshold > 0 && o.Threshold < 1):
			err = keyErrorf(at+".threshold", "%g is not between 0 and 1, where %s scores lie", o.Threshold, o.Activation)
		case o.Restore != m.Outputs[0].Restore:
			err = keyErrorf(at+".restore", "%s differs from outputs[0]; outputs that make one label map are restored alike", o.Restore)
		}
		if err != nil {
			return firstLine(err)
		}
	}
	return nil
}

// firstLine keeps the first of several joined errors.
func firstLine(err error) error {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(line)
}
