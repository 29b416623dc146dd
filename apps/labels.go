package apps

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"strings"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/ordered"
)

// Saved is a stored label and what its sender should know.
type Saved struct {
	datastore.Label
	Warnings []string
}

// SaveLabel stores an uploaded label of an image under a tag ("" means final).
//
// A label that lies on the image's grid up to axis order, flips or 1e-3 voxel
// is put onto that grid. One on another grid is kept as it came, with a
// warning, and is never trained on. Voxels must be whole numbers. A raw ".bin"
// becomes a NIfTI file. One of several layers is kept like one on another
// grid. Files that are no images (.json, .xml, …) are kept
// unread.
func (a *App) SaveLabel(ctx context.Context, id, tag string, params *ordered.Map, u *Upload) (Saved, error) {
	if tag == "" {
		tag = datastore.TagFinal
	}
	if err := datastore.CheckTag(tag); err != nil {
		return Saved{}, err
	}
	img, err := a.store.Image(id)
	if err != nil {
		return Saved{}, err
	}
	file, warnings, err := a.labelFile(ctx, img, u)
	if err != nil {
		return Saved{}, err
	}
	file.Info = params
	l, err := a.store.SaveLabel(ctx, id, tag, file)
	return Saved{l, warnings}, err
}

// labelFile decides how an uploaded label is kept.
func (a *App) labelFile(ctx context.Context, img datastore.Image, u *Upload) (datastore.LabelFile, []string, error) {
	ext, err := storedExt(u.Name)
	if err != nil {
		return datastore.LabelFile{}, nil, err
	}
	raw := strings.EqualFold(ext, ".bin")
	verbatim := datastore.LabelFile{Ext: ext, Write: u.copyTo}
	if !raw && !codec.Known(ext) {
		return verbatim, nil, nil
	}
	grid, gridErr := a.imageGrid(ctx, img)
	if raw && gridErr != nil {
		return datastore.LabelFile{}, nil, gridErr
	}
	l, err := a.readLabel(ctx, u, grid)
	if errors.Is(err, errLayers) { // somebody's work all the same
		verbatim.GridMismatch = true
		return verbatim, []string{"the label has several layers: it was kept as it is and will not be used for training"}, nil
	}
	if err != nil {
		return datastore.LabelFile{}, nil, err
	}
	if raw {
		return rewritten(".nii.gz", l), nil, nil
	}
	if gridErr != nil {
		verbatim.GridMismatch = true
		return verbatim, []string{"the image cannot be read, so the label's grid could not be compared with it"}, nil //nolint:nilerr // work is not refused for a fault of the image
	}
	if grid.Distance(l.Grid) <= sameGrid {
		return verbatim, nil, nil
	}
	aligned, ok := codec.Align(l, grid)
	if !ok {
		verbatim.GridMismatch = true
		return verbatim, []string{"the label does not lie on the image's grid: it was kept as it is and will not be used for training"}, nil
	}
	return rewritten(ext, aligned), nil, nil
}

// imageGrid reads the grid of an image from its header.
func (a *App) imageGrid(ctx context.Context, img datastore.Image) (imaging.Grid, error) {
	if img.Quarantined != "" {
		return imaging.Grid{}, fault.New(fault.Conflict, "the image %q is quarantined: %s", img.ID, img.Quarantined)
	}
	h, err := codec.ReadGrid(ctx, img.Files[0])
	return h.Grid, readFault(err, "the image", img.Files[0])
}

// rewritten is a label to be encoded from its voxels, in the smallest type
// that holds them.
func rewritten(ext string, l *imaging.LabelMap) datastore.LabelFile {
	t := imaging.Uint8
	if l.Max() > math.MaxUint8 {
		t = imaging.Uint16
	}
	return datastore.LabelFile{Ext: ext, Write: func(w io.Writer) error {
		return codec.WriteLabels(w, ext, l, t, codec.WriteOptions{Compress: true})
	}}
}

// copyTo writes the uploaded bytes to w.
func (u *Upload) copyTo(w io.Writer) error {
	f, err := os.Open(u.Path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	_, err = io.Copy(w, f)
	return err
}
