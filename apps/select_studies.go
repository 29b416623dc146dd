package apps

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/datastore/local"
	"github.com/voxloop/voxloop/internal/fault"
)

// StudyImage is an image of a studies folder.
type StudyImage struct {
	ID          string
	Files       []string // absolute paths; several are the channels in order
	Labelled    bool     // it has a final label
	Quarantined string   // why it cannot be used; "" when it can
}

// StudiesImages lists the images of a studies folder by id, also when no server
// ever ran on it, as StudiesCases does.
func StudiesImages(ctx context.Context, o StudiesOptions) (images []StudyImage, err error) {
	if o.Studies == "" {
		return nil, fault.New(fault.Invalid, "no studies folder is given")
	}
	if info, serr := os.Stat(o.Studies); serr != nil || !info.IsDir() {
		return nil, fault.New(fault.NotFound, "the studies folder %s is not there", o.Studies)
	}
	if o.State == "" {
		o.State = filepath.Join(o.Studies, local.StateDir)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	store, err := o.openState(ctx)
	if err != nil {
		return nil, err
	}
	if store == nil {
		state, terr := os.MkdirTemp("", "voxloop-images-")
		if terr != nil {
			return nil, diskFault(terr, "looking for images")
		}
		defer func() { err = errors.Join(err, os.RemoveAll(state)) }()
		if store, err = o.open(ctx, state); err != nil {
			return nil, err
		}
	}
	for img := range store.All() {
		_, labelled := img.Label(datastore.TagFinal)
		images = append(images, StudyImage{ID: img.ID, Files: img.Files, Labelled: labelled, Quarantined: img.Quarantined})
	}
	slices.SortFunc(images, func(a, b StudyImage) int { return cmp.Compare(a.ID, b.ID) })
	return images, store.Close()
}
