package dataset

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
)

// convert makes the files of one case. None appears before all of the case is
// known to be usable.
func (c *converter) convert(ctx context.Context, f *found) (Case, error) {
	out := Case{ID: f.id}
	switch {
	case len(f.images) == 0:
		return out, fault.New(fault.Invalid, "there is no image for this label")
	case len(f.labels) == 0 && !f.unlabelled:
		return out, fault.New(fault.Invalid, "there is no label for this image")
	}
	h, split, err := c.inspect(ctx, f)
	if err != nil {
		return out, err
	}
	bytes, err := c.weigh(ctx, f, h, split)
	if err != nil {
		return out, err
	}
	if err := c.memory.Acquire(ctx, bytes); err != nil {
		return out, fault.Wrap(fault.Canceled, err, "the conversion was stopped")
	}
	defer c.memory.Release(bytes)
	var label *imaging.LabelMap
	if len(f.labels) > 0 {
		if label, err = c.readLabel(ctx, f, h.Grid); err != nil {
			return out, err
		}
	}
	if out.Images, err = c.placeImages(ctx, f, split); err != nil || len(f.labels) == 0 {
		return out, err
	}
	out.Label, err = c.placeLabel(ctx, f, label)
	return out, err
}

// inspect reads the images in full, keeping nothing, and brings them into the
// order of the channels. split: one file holds several channels.
func (c *converter) inspect(ctx context.Context, f *found) (first codec.Header, split bool, err error) {
	slices.SortFunc(f.images, func(a, b staged) int { return a.channel - b.channel })
	n := 0
	for i, s := range f.images {
		if s.channel >= 0 && s.channel != i {
			return first, false, fault.New(fault.Invalid, "channel %d is missing", i)
		}
		if err := codec.Check(ctx, s.path, codec.Limits{MaxBytes: c.lim.Volume}); err != nil {
			return first, false, unusable(err, "the image")
		}
		h, err := codec.ReadGrid(ctx, s.path)
		if err != nil {
			return first, false, unusable(err, "the image")
		}
		switch {
		case i == 0:
			first = h
		case h.Distance(first.Grid) > codec.AlignTolerance:
			return first, false, fault.New(fault.Invalid, "its channels are not on one grid")
		}
		if h.Channels > 1 && len(f.images) > 1 {
			return first, false, fault.New(fault.Invalid, "channel %d is a file with %d channels", i, h.Channels)
		}
		n += h.Channels
	}
	if c.channels > 0 && n != c.channels {
		return first, false, fault.New(fault.Invalid, "the image has %d channels, the set's have %d", n, c.channels)
	}
	if n > maxChannels {
		return first, false, fault.New(fault.Invalid, "the image has %d channels; at most %d are possible", n, maxChannels)
	}
	return first, n > 1 && len(f.images) == 1, nil
}

// maxChannels of an image in several files, as in the data store.
const maxChannels = 16

// weigh estimates the decoded bytes that a case takes at a time.
func (c *converter) weigh(ctx context.Context, f *found, h codec.Header, split bool) (int64, error) {
	bytes := int64(0)
	if split {
		bytes = int64(h.Voxels()) * int64(h.Channels*h.Type.Size())
	}
	for _, s := range f.labels {
		l, err := codec.ReadGrid(ctx, s.path)
		if err != nil {
			return 0, unusable(err, "the label map")
		}
		const maps = 2 + 2 // as read, and as written or merged
		bytes = max(bytes, int64(l.Voxels())*int64(l.Channels*l.Type.Size()+maps))
	}
	if bytes > c.lim.Volume {
		return 0, fault.New(fault.TooLarge, "it takes %s of memory, more than the %s that are allowed", size(bytes), size(c.lim.Volume))
	}
	return bytes, nil
}

// placeImages brings the images into the studies folder under the names of the
// data store: one file per channel.
func (c *converter) placeImages(ctx context.Context, f *found, split bool) ([]string, error) {
	if !split {
		var names []string
		for i, s := range f.images {
			name := f.id + s.ext
			if len(f.images) > 1 {
				name = fmt.Sprintf("%s_%04d%s", f.id, i, s.ext)
			}
			if err := place(ctx, s, filepath.Join(c.dir, name)); err != nil {
				return nil, err
			}
			names = append(names, name)
		}
		return names, nil
	}
	file, err := codec.ReadFile(ctx, f.images[0].path, codec.Limits{MaxBytes: c.lim.Volume})
	if err != nil {
		return nil, unusable(err, "the image")
	}
	var names []string
	for i := range file.Channels {
		v, err := codec.Channel(file.Volume, i)
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("%s_%04d%s", f.id, i, f.images[0].ext)
		if err := write(ctx, filepath.Join(c.dir, name), v, codec.WriteOptions{NIfTI: file.NIfTI, NRRD: file.NRRD, Compress: true}); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, removeOurs(f.images[0])
}

// write writes a volume. No failure of it is the case's.
func write(ctx context.Context, to string, v *imaging.Volume, o codec.WriteOptions) error {
	err := codec.WriteFile(ctx, to, v, o)
	if err == nil || ctx.Err() != nil || fullDisk(err) {
		return diskFault(err, "the conversion")
	}
	return fault.Wrap(fault.Unavailable, err, "%s cannot be written", filepath.Base(to))
}

// place moves a file of ours to where it belongs, or copies somebody else's.
func place(ctx context.Context, s staged, to string) error {
	if s.ours {
		return diskFault(os.Rename(s.path, to), "the conversion")
	}
	info, err := os.Stat(s.path)
	if err != nil {
		return diskFault(err, "the conversion")
	}
	return diskFault(writeMember(ctx, member{name: s.path, size: info.Size(), open: func() (io.ReadCloser, error) { return os.Open(s.path) }}, to), "the conversion")
}

func removeOurs(s staged) error {
	if !s.ours {
		return nil
	}
	return diskFault(os.Remove(s.path), "the conversion")
}

// unusable puts before a reader's message what was read.
func unusable(err error, what string) error {
	if msg, ok := fault.Message(err); ok && fault.KindOf(err) != fault.Canceled {
		return fault.Wrap(fault.KindOf(err), err, "%s: %s", what, msg)
	}
	return err
}
