package apps

import (
	"context"
	"io"
	"math"
	"os"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
)

// gridTolerance is how far, in voxels, a label's corners may lie from the
// image's for the two to be one grid.
const gridTolerance = 1e-3

// sameGrid is the distance, in voxels, below which two grids are equal but for
// the rounding of their text or 32-bit form.
const sameGrid = 1e-9

// axisMaps are the 48 ways to reorder and flip three axes, the identity first.
var axisMaps = func() []imaging.AxisMap {
	var out []imaging.AxisMap
	for _, p := range [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		for f := range 8 {
			out = append(out, imaging.AxisMap{Source: p, Flip: [3]bool{f&1 != 0, f&2 != 0, f&4 != 0}})
		}
	}
	return out
}()

// fit returns the map from the image's grid to the label's when the label lies
// on the image's grid, up to axis order, flips and gridTolerance.
func fit(image, label imaging.Grid) (imaging.AxisMap, bool) {
	best, at := math.Inf(1), imaging.AxisMap{}
	for _, m := range axisMaps {
		if d := image.Distance(label.Remap(m)); d < best {
			best, at = d, m
		}
	}
	return at, best <= gridTolerance
}

// onto returns the label's voxels on the image's grid; m is what fit found.
func onto(image imaging.Grid, l *imaging.LabelMap, m imaging.AxisMap) *imaging.LabelMap {
	out := imaging.NewLabelMap(image)
	// Voxel (x, y, z) of the image is voxel start + x*step[0] + … of the label.
	stride := [3]int{1, l.Size[0], l.Size[0] * l.Size[1]}
	start, step := 0, [3]int{}
	for i := range 3 {
		s := m.Source[i]
		step[i] = stride[s]
		if m.Flip[i] {
			step[i] = -stride[s]
			start += stride[s] * (l.Size[s] - 1)
		}
	}
	i := 0
	for z := range image.Size[2] {
		for y := range image.Size[1] {
			at := start + y*step[1] + z*step[2]
			for range image.Size[0] {
				out.Data[i] = l.Data[at]
				i, at = i+1, at+step[0]
			}
		}
	}
	return out
}

// readLabel decodes an uploaded label. image is the grid that a raw ".bin" of
// 8-bit voxels, x fastest, lies on.
func (a *App) readLabel(ctx context.Context, u *Upload, image imaging.Grid) (*imaging.LabelMap, error) {
	const what = "the label"
	if strings.EqualFold(codec.Ext(u.Name), ".bin") {
		return readRaw(u, image)
	}
	v, err := codec.Read(ctx, u.Path, a.codecLimits())
	if err != nil {
		return nil, readFault(err, what, u.Path)
	}
	l, err := imaging.LabelMapOf(v)
	return l, readFault(err, what, u.Path)
}

func readRaw(u *Upload, image imaging.Grid) (*imaging.LabelMap, error) {
	if u.Size != int64(image.Voxels()) {
		return nil, fault.New(fault.Invalid, "the label has %d bytes; a .bin holds one byte per voxel of the image, %d", u.Size, image.Voxels())
	}
	f, err := os.Open(u.Path)
	if err != nil {
		return nil, diskFault(err, "reading the label")
	}
	defer func() { _ = f.Close() }()
	l, buf := imaging.NewLabelMap(image), make([]byte, 1<<16)
	for at := 0; at < len(l.Data); {
		n, err := io.ReadFull(f, buf[:min(len(buf), len(l.Data)-at)])
		if err != nil {
			return nil, diskFault(err, "reading the label")
		}
		for i, b := range buf[:n] {
			l.Data[at+i] = uint16(b)
		}
		at += n
	}
	return l, nil
}

// previous reads the label part of an inference onto the image's grid.
func (a *App) previous(ctx context.Context, u *Upload, image imaging.Grid) (*imaging.LabelMap, error) {
	l, err := a.readLabel(ctx, u, image)
	if err != nil {
		return nil, err
	}
	m, ok := fit(image, l.Grid)
	if !ok {
		return nil, fault.New(fault.Invalid, "the label does not lie on the image's grid")
	}
	return onto(image, l, m), nil
}
