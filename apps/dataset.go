package apps

import (
	"archive/zip"
	"context"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/fault"
)

// Pair is an image with its final label, as absolute paths.
type Pair struct {
	Image string `json:"image"`
	Label string `json:"label"`
}

// TrainingPairs returns the labelled images in index order. Labels off the
// image's grid and quarantined images are left out.
func (a *App) TrainingPairs() []Pair {
	pairs := []Pair{}
	for img := range a.store.All() {
		l, ok := img.Label(datastore.TagFinal)
		if ok && !l.GridMismatch && img.Quarantined == "" {
			pairs = append(pairs, Pair{img.Files[0], l.Path})
		}
	}
	return pairs
}

// Dataset writes a ZIP of the labelled images, their labels and the index to a
// temp file. Members are stored, not deflated. limit cuts the number of cases
// when it is at least 1.
func (a *App) Dataset(ctx context.Context, limit int) (_ *Upload, err error) {
	pairs := a.TrainingPairs()
	if len(pairs) == 0 {
		return nil, fault.New(fault.NotFound, "no image has a final label")
	}
	if limit >= 1 && limit < len(pairs) {
		pairs = pairs[:limit]
	}
	f, err := os.CreateTemp(a.tmp, "dataset*.zip")
	if err != nil {
		return nil, diskFault(err, "writing the dataset")
	}
	u := &Upload{Name: "dataset.zip", Path: f.Name()}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = diskFault(cerr, "writing the dataset")
		}
		if err != nil {
			u.Remove()
		}
	}()
	z := zip.NewWriter(writeOnly{f})
	for _, p := range pairs {
		if err := ctx.Err(); err != nil {
			return nil, fault.Wrap(fault.Canceled, err, "the caller went away")
		}
		if err := addFile(z, "image", p.Image); err != nil {
			return nil, err
		}
		if err := addFile(z, "label", p.Label); err != nil {
			return nil, err
		}
	}
	w, err := z.CreateHeader(&zip.FileHeader{Name: "metadata.json", Method: zip.Store, Modified: time.Now()})
	if err != nil {
		return nil, diskFault(err, "writing the dataset")
	}
	if err := a.store.Index(w); err != nil {
		return nil, err
	}
	return u, diskFault(z.Close(), "writing the dataset")
}

func addFile(z *zip.Writer, folder, path string) error {
	src, err := os.Open(path) //nolint:gosec // a file of the data store
	if err != nil {
		return diskFault(err, "reading the dataset")
	}
	defer func() { _ = src.Close() }()
	w, err := z.CreateHeader(&zip.FileHeader{Name: folder + "/" + filepath.Base(path), Method: zip.Store, Modified: time.Now()})
	if err != nil {
		return diskFault(err, "writing the dataset")
	}
	if _, err := io.Copy(w, src); err != nil {
		return diskFault(err, "writing the dataset")
	}
	return nil
}
