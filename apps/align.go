package apps

import (
	"context"
	"io"
	"os"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
)

// sameGrid is the distance, in voxels, below which two grids are equal but for
// the rounding of their text or 32-bit form.
const sameGrid = 1e-9

// errLayers is a label of several layers, as 3D Slicer writes overlapping
// segments.
var errLayers = fault.New(fault.Invalid, "the label has several layers; one label map is needed")

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
	if v.Channels > 1 && strings.HasSuffix(strings.ToLower(u.Name), ".nrrd") {
		return nil, errLayers
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
	out, ok := codec.Align(l, image)
	if !ok {
		return nil, fault.New(fault.Invalid, "the label does not lie on the image's grid")
	}
	return out, nil
}
