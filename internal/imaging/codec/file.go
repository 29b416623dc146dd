package codec

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
	"github.com/voxloop/voxloop/internal/imaging/nifti"
	"github.com/voxloop/voxloop/internal/imaging/nrrd"
)

// Axis is an axis beyond space: time, vector components, layers.
type Axis = raw.Axis

// File is a volume with what its file says beyond it. Exactly one of NIfTI and
// NRRD is set.
type File struct {
	*imaging.Volume
	Format string // "NIfTI-1", "NIfTI-2 pair", "NRRD0004", …
	NIfTI  *nifti.Meta
	NRRD   *nrrd.Meta
}

// ReadFile reads the image file at path like Read, with what it says beyond the
// volume, and to its very end: nothing that cannot be read goes unnoticed. The
// .img file of a pair stands for its header.
func ReadFile(ctx context.Context, path string, lim Limits) (*File, error) {
	path = headerOf(path)
	name := filepath.Base(path)
	s, err := openFile(path)
	if err != nil {
		return nil, raw.WithName(err, "read", name)
	}
	f, err := readFile(ctx, s, name, lim)
	if err = errors.Join(err, s.Close()); err != nil {
		return nil, raw.WithName(err, "read", name)
	}
	return f, nil
}

func readFile(ctx context.Context, s *raw.Source, name string, lim Limits) (*File, error) {
	s, f, err := sniff(s)
	if err != nil {
		return nil, err
	}
	if f == nrrdFormat {
		v, m, err := nrrd.ReadWithMeta(ctx, s, lim)
		return &File{Volume: v, Format: fmt.Sprintf("NRRD%04d", m.Version), NRRD: &m}, err
	}
	v, m, err := nifti.ReadWithMeta(ctx, s, name, lim)
	format := fmt.Sprintf("NIfTI-%d", m.Version)
	if m.Pair {
		format += " pair"
	}
	return &File{Volume: v, Format: format, NIfTI: &m}, err
}

// headerOf returns the header's path for the .img file of a pair.
func headerOf(path string) string {
	lower := strings.ToLower(path)
	for _, e := range []string{".img", ".img.gz"} {
		if !strings.HasSuffix(lower, e) {
			continue
		}
		stem := path[:len(path)-len(e)]
		for _, h := range []string{".hdr", ".hdr.gz"} {
			if s, err := raw.Open(stem + h); err == nil {
				_ = s.Close() // only asked whether it is there
				return stem + h
			}
		}
	}
	return path
}

// Axes are the axes beyond space that make the channels, the first fastest.
func (f *File) Axes() []Axis {
	if f.NIfTI != nil {
		return f.NIfTI.Axes()
	}
	return f.NRRD.Axes
}

// Problems are oddities of the file that did not hinder reading.
func (f *File) Problems() []string {
	if f.NIfTI != nil {
		return f.NIfTI.Problems
	}
	return f.NRRD.Problems
}

// Channel returns the volume with one entry of the axes beyond space, by its
// index along each of them (missing ones are 0); or, where a single index is
// given, by the number of the channel. The voxels are shared. Errors are
// Invalid.
func (f *File) Channel(index ...int) (*imaging.Volume, error) {
	c := 0
	if len(index) == 1 {
		c = index[0]
	} else {
		var err error
		if c, err = raw.ChannelOf(f.Axes(), index...); err != nil {
			return nil, err
		}
	}
	return Channel(f.Volume, c)
}

// Channel returns channel c of v as a volume of its own that shares the voxels.
// A channel that does not exist is Invalid.
func Channel(v *imaging.Volume, c int) (*imaging.Volume, error) {
	if c < 0 || c >= v.Channels {
		return nil, fault.New(fault.Invalid, "there is no channel %d; the volume has %d", c, v.Channels)
	}
	one, n := *v, v.Voxels()
	one.Channels, one.Data = 1, raw.Slice(v.Data, c*n, (c+1)*n)
	return &one, nil
}
