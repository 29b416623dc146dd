package infer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/harmonize"
)

// attach reads the fitted models that the manifest's harmonize steps name, and
// keeps hashes of the files for the content's hash. Errors name the key.
func (m *Manifest) attach(fsys fs.FS) error {
	read := make(map[string]*harmonize.Model)
	for i := range m.Inputs {
		in := &m.Inputs[i]
		for k := range in.Normalize {
			s := in.Normalize[k].Harmonize
			if s == nil {
				continue
			}
			at := fmt.Sprintf("inputs[%d].normalize[%d].harmonize", i, k)
			if read[s.File] == nil {
				model, sum, err := readFitted(fsys, s.File)
				if err != nil {
					return s.keyError(at+".file", err)
				}
				read[s.File], m.attached = model, append(m.attached, sum[:]...)
			}
			s.model = read[s.File]
			if err := m.checkFitted(in, s); err != nil {
				return s.keyError(at, err)
			}
		}
	}
	return nil
}

// readFitted reads a plain file of the model folder.
func readFitted(fsys fs.FS, name string) (m *harmonize.Model, sum [sha256.Size]byte, err error) {
	info, err := fs.Lstat(fsys, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, sum, fault.New(fault.NotFound, "it is not in the model folder")
	case err != nil:
		return nil, sum, fault.New(fault.Invalid, "it cannot be read")
	case !info.Mode().IsRegular():
		return nil, sum, fault.New(fault.Invalid, "it is no plain file")
	case info.Size() > harmonize.MaxSize:
		return nil, sum, fault.New(fault.Invalid, "%d bytes; at most %d are read", info.Size(), harmonize.MaxSize)
	}
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, sum, fault.New(fault.Invalid, "it cannot be read")
	}
	m, err = harmonize.Parse(data)
	return m, sha256.Sum256(data), err
}

// checkFitted makes sure that the fitted model is for the channel's modality,
// as far as both say one, and allows the use that the step makes of it.
func (m *Manifest) checkFitted(in *InputSpec, s *HarmonizeStep) error {
	var here []string
	for _, word := range []string{in.Source.Arg, m.Modality} {
		if word != "" {
			here = append(here, word)
		}
	}
	want := s.model.Modality
	if in.Source.Kind != SourceImage {
		return fault.New(fault.Invalid, "a fitted model is for a channel of source image, not %s", in.Source)
	}
	if want != "" && len(here) > 0 && !slices.ContainsFunc(here, func(word string) bool { return strings.EqualFold(word, want) }) {
		return fault.New(fault.Invalid, "method %s was fitted on modality %s, but this channel is %s", s.model.Method, want, strings.Join(here, " of "))
	}
	return s.model.Check(s.use())
}

func (s *HarmonizeStep) use() harmonize.Use {
	return harmonize.Use{Site: s.Site, TestTime: s.TestTime}
}

// harmonize runs one of the steps of internal/imaging/harmonize.
func (s *Step) harmonize(ctx context.Context, values []float32, mask []bool) error {
	switch {
	case s.CT != nil:
		return harmonize.CTParams{Lower: s.CT.Lower, Upper: s.CT.Upper, Mean: s.CT.Mean, Std: s.CT.Std}.Apply(ctx, values)
	case s.NNUNetZScore != nil:
		if s.NNUNetZScore.Mask == maskNone {
			mask = nil
		}
		return harmonize.Standardize(ctx, values, mask)
	case s.HistogramNormalize != nil:
		h := s.HistogramNormalize
		return harmonize.Equalize(ctx, values, h.Bins, h.To, foregrounds[h.Voxels])
	case s.Harmonize.model == nil:
		return errors.New("the manifest was read without its folder: " + s.Harmonize.File + " is not there")
	}
	return s.Harmonize.model.Apply(ctx, values, s.Harmonize.use())
}

// nonzeroMask returns where any image is other than 0 before normalisation,
// holes filled; nil when no step asks for it.
func (m *Manifest) nonzeroMask(ctx context.Context, p *prepared, present []bool) ([]bool, error) {
	wanted := false
	var images [][]float32
	for c := range m.Inputs {
		if m.Inputs[c].Source.Kind == SourceImage && present[c] {
			images = append(images, p.channel(c))
		}
		for _, s := range m.Inputs[c].Normalize {
			wanted = wanted || s.NNUNetZScore != nil && s.NNUNetZScore.Mask == voxelsNonzero
		}
	}
	if !wanted || len(images) == 0 {
		return nil, nil
	}
	return harmonize.NonzeroMask(ctx, images, p.layout.Size)
}

// named says which channel an image's fault lies in.
func (in *InputSpec) named(err error) error {
	msg, ok := fault.Message(err)
	if !ok {
		return err
	}
	return fault.New(fault.KindOf(err), "channel %s: %s", in.title(), msg)
}
