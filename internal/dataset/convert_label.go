package dataset

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
)

// readLabel reads and checks the label of a case on the image's grid. What it
// returns is to be written; nil: the file is right as it is.
func (c *converter) readLabel(ctx context.Context, f *found, grid imaging.Grid) (*imaging.LabelMap, error) {
	if f.labels[0].role == maskRole {
		return c.merge(ctx, f, grid)
	}
	l, err := c.readMap(ctx, f.labels[0].path, grid)
	if err != nil {
		return nil, err
	}
	if err := checkValues(l, c.declared); err != nil {
		return nil, err
	}
	if c.values == nil {
		return nil, nil //nolint:nilnil // said above
	}
	for i, v := range l.Data {
		l.Data[i] = uint16(c.values[int(v)]) //nolint:gosec // checkLabels; 0 for what is not wanted
	}
	return l, nil
}

func (c *converter) readMap(ctx context.Context, path string, grid imaging.Grid) (*imaging.LabelMap, error) {
	l, err := readMap(ctx, path, c.lim.Volume)
	if err != nil {
		return nil, err
	}
	aligned, ok := codec.Align(l, grid)
	if !ok {
		return nil, fault.New(fault.Invalid, "the label map (%s) is not on the image's grid (%s)", gridText(l.Grid), gridText(grid))
	}
	return aligned, nil
}

func readMap(ctx context.Context, path string, limit int64) (*imaging.LabelMap, error) {
	v, err := codec.Read(ctx, path, codec.Limits{MaxBytes: limit})
	if err != nil {
		return nil, unusable(err, "the label map")
	}
	l, err := imaging.LabelMapOf(v)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the label map cannot be used: %v", err)
	}
	return l, nil
}

// checkValues reports the values that are not declared.
func checkValues(l *imaging.LabelMap, declared map[uint16]bool) error {
	var seen [65536]bool
	for _, v := range l.Data {
		seen[v] = true
	}
	var odd []int
	for v := range seen {
		if seen[v] && !declared[uint16(v)] {
			odd = append(odd, v)
		}
	}
	switch {
	case len(odd) > 5:
		return fault.New(fault.Invalid, "the label map has %d values that are none of the set's, as %v", len(odd), odd[:5])
	case len(odd) > 0:
		return fault.New(fault.Invalid, "the label map has values that are none of the set's: %v", odd)
	}
	return nil
}

// merge makes one label map of one mask per class. Where masks overlap, the
// class that comes first in the set wins, so that the result does not depend on
// the archive's order.
func (c *converter) merge(ctx context.Context, f *found, grid imaging.Grid) (*imaging.LabelMap, error) {
	byClass := make(map[string]staged, len(f.labels))
	for _, s := range f.labels {
		if !slices.ContainsFunc(c.classes, func(l Label) bool { return l.Name == s.class }) {
			return nil, fault.New(fault.Invalid, "there is a mask of %q, which is none of the set's classes", s.class)
		}
		byClass[s.class] = s
	}
	out := imaging.NewLabelMap(grid)
	for _, l := range c.classes {
		s, ok := byClass[l.Name]
		if !ok {
			continue
		}
		value := l.Value
		if c.values != nil {
			value = c.values[l.Value]
		}
		mask, err := c.readMap(ctx, s.path, grid)
		if err != nil {
			return nil, unusable(err, l.Name)
		}
		for i, v := range mask.Data {
			if v != 0 && out.Data[i] == 0 {
				out.Data[i] = uint16(value) //nolint:gosec // checkLabels
			}
		}
	}
	return out, nil
}

// placeLabel brings the label to its place and returns that, from the studies
// folder.
func (c *converter) placeLabel(ctx context.Context, f *found, l *imaging.LabelMap) (string, error) {
	ext := ".nii.gz"
	if l == nil {
		ext = f.labels[0].ext
	}
	name := finalLabels + "/" + f.id + ext
	to := filepath.Join(c.dir, filepath.FromSlash(name))
	if l == nil {
		return name, place(ctx, f.labels[0], to)
	}
	t := imaging.Uint8
	if l.Max() > 255 {
		t = imaging.Uint16
	}
	v, err := l.Volume(t)
	if err != nil {
		return "", fault.Wrap(fault.Invalid, err, "the label map cannot be written")
	}
	if err := write(ctx, to, v, codec.WriteOptions{}); err != nil {
		return "", err
	}
	for _, s := range f.labels {
		if err := removeOurs(s); err != nil {
			return "", err
		}
	}
	return name, nil
}

func gridText(g imaging.Grid) string {
	return fmt.Sprintf("%d×%d×%d voxels", g.Size[0], g.Size[1], g.Size[2])
}
