package apps

import (
	"context"
	"strings"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/ordered"
)

// AddImage stores an uploaded image. Without an id the file's name without its
// extension is the id. The file must be one that can be read.
func (a *App) AddImage(ctx context.Context, id string, params *ordered.Map, u *Upload) (datastore.Image, error) {
	if id == "" {
		id = strings.TrimSuffix(u.Name, codec.Ext(u.Name))
	}
	if err := datastore.CheckID(id); err != nil {
		return datastore.Image{}, err
	}
	ext, err := storedExt(u.Name)
	if err != nil {
		return datastore.Image{}, err
	}
	if !codec.Known(ext) {
		return datastore.Image{}, fault.New(fault.Invalid, "images of type %s cannot be read here; send NIfTI or NRRD", ext)
	}
	if err := a.checkImage(ctx, u.Path); err != nil {
		return datastore.Image{}, readFault(err, "the uploaded image", u.Path)
	}
	info := params.Clone()
	if info == nil {
		info = &ordered.Map{}
	}
	return a.store.AddImage(ctx, id, ext, info.Set("user", anonymous), u.copyTo)
}

// checkImage decodes the whole file, keeping nothing of it: a truncated one has
// a perfect header.
func (a *App) checkImage(ctx context.Context, path string) error {
	return codec.Check(ctx, path, a.codecLimits())
}

// validate is what the data store asks about a new file. Its text is shown to
// clients.
func (a *App) validate(ctx context.Context, path string) error {
	return readFault(a.checkImage(ctx, path), "the file", path)
}

// ImageFile returns a stored image that may be handed out.
func (a *App) ImageFile(id string) (datastore.Image, error) { return a.usable(id) }

// UserInfo returns an info patch of a client with its user added, as the
// protocol stores it.
func UserInfo(patch *ordered.Map) *ordered.Map {
	p := patch.Clone()
	if p == nil {
		p = &ordered.Map{}
	}
	return p.Set("user", anonymous)
}
