package apps

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/ordered"
)

// InferRequest asks for one inference. The image is, in this order: the
// session's, the uploaded File, the stored Image.
type InferRequest struct {
	Model   string
	Image   string
	Session string
	File    *Upload
	Label   *Upload // earlier label or scribbles, for models that take one
	Params  *ordered.Map
	NoFile  bool // the caller does not want the result file
}

// InferResult is a finished inference. Close deletes its file.
type InferResult struct {
	Params  *ordered.Map // label_names, latencies, centroids
	File    *Upload      // nil when none was wanted
	Version string       // of the model that answered
}

// Close deletes the result file.
func (r *InferResult) Close() {
	if r != nil {
		r.File.Remove()
	}
}

// source is where the voxels of an inference come from.
type source struct {
	id    string   // of the stored image; "" for uploads and sessions
	files []string // the channels in order
	what  string   // for messages
	ext   string   // of the first file as the client named it
}

// Infer runs a model on an image. It stops when ctx ends.
func (a *App) Infer(ctx context.Context, req InferRequest) (_ *InferResult, err error) {
	defer func() { a.metrics.inferred(req.Model, err) }()
	begin := time.Now()
	model, ok := a.engine.Model(req.Model)
	if !ok {
		return nil, fault.New(fault.NotFound, "there is no model %q", clip(req.Model))
	}
	w, err := parseWishes(req.Params, model)
	if err != nil {
		return nil, err
	}
	src, err := a.source(req)
	if err != nil {
		return nil, err
	}
	if w.save && src.id != "" && a.opts.ReadOnly {
		return nil, fault.New(fault.Unavailable, "save_label: the studies are read only")
	}
	if err := a.gate.enter(); err != nil {
		return nil, err
	}
	defer a.gate.leave()
	run := &run{app: a, model: model, wishes: w, src: src, times: timings{begin: begin}}
	err = run.segment(ctx, req.Label)
	a.loop.inferred(run.model, err, run.answer)
	if err != nil {
		return nil, err
	}
	return run.finish(ctx, req.NoFile)
}

// source finds the files of the image. A session wins over a file, a file over
// an id: Slicer sends a meaningless id along with its session.
func (a *App) source(req InferRequest) (source, error) {
	if req.Session != "" {
		ses, err := a.sessions.Get(req.Session, true)
		if err == nil {
			return sessionSource(ses)
		}
		if req.Image == "" && req.File == nil || fault.KindOf(err) != fault.NotFound {
			return source{}, err
		}
	}
	if req.File != nil {
		return source{files: []string{req.File.Path}, what: "the uploaded image", ext: safeSuffix(req.File.Name)}, nil
	}
	if req.Image == "" {
		return source{}, fault.New(fault.Missing, "Neither Image nor File not Session ID input is provided")
	}
	img, err := a.usable(req.Image)
	if err != nil {
		return source{}, err
	}
	return source{id: img.ID, files: img.Files, what: "the image", ext: img.Ext}, nil
}

// sessionSource takes the session's file, or the files of its folder as
// channels in order of their names.
func sessionSource(ses Session) (source, error) {
	s := source{what: "the session's image"}
	err := filepath.WalkDir(ses.Image, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			s.files = append(s.files, path)
		}
		return err
	})
	if err != nil || len(s.files) == 0 {
		return source{}, fault.Wrap(fault.NotFound, errOr(err, os.ErrNotExist), "Session (%s) Not Found", ses.ID)
	}
	slices.Sort(s.files)
	s.ext = codec.Ext(filepath.Base(s.files[0]))
	return s, nil
}

func errOr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// usable returns a stored image that is not quarantined.
func (a *App) usable(id string) (datastore.Image, error) {
	img, err := a.store.Image(id)
	if err != nil {
		return datastore.Image{}, err
	}
	if img.Quarantined != "" {
		return datastore.Image{}, fault.New(fault.Conflict, "the image %q is quarantined: %s", id, img.Quarantined)
	}
	return img, nil
}

// readImage reads the channels of an image. A stored image that turns out to
// be unreadable is quarantined.
func (a *App) readImage(ctx context.Context, src source) ([]*imaging.Volume, error) {
	volumes := make([]*imaging.Volume, 0, len(src.files))
	for _, path := range src.files {
		v, err := codec.Read(ctx, path, a.codecLimits())
		if err == nil {
			volumes = append(volumes, v)
			continue
		}
		err = readFault(err, src.what, path)
		if kind := fault.KindOf(err); src.id != "" && (kind == fault.Invalid || kind == fault.TooLarge) {
			reason, _ := fault.Message(err)
			if qerr := a.store.Quarantine(ctx, src.id, reason); qerr != nil {
				a.log.Warn("an unreadable image could not be quarantined", "err", qerr)
			}
			return nil, fault.Wrap(fault.Conflict, err, "the image %q is quarantined: %s", src.id, reason)
		}
		return nil, err
	}
	return volumes, nil
}

func (a *App) codecLimits() codec.Limits { return codec.Limits{MaxVoxels: a.opts.Limits.MaxVoxels} }

// restoreValues returns the manifest's value → written value. By default
// voxels hold consecutive values 1..N in order of the manifest's: Slicer maps
// value i to segment i.
func restoreValues(labels []infer.Label, restore bool) map[uint16]uint16 {
	if restore {
		return nil
	}
	out, next, changed := map[uint16]uint16{}, uint16(1), false
	for _, l := range byValue(labels) {
		if l.Value <= 0 || l.Value > 65535 {
			continue
		}
		v := uint16(l.Value)
		out[v] = next
		changed = changed || v != next
		next++
	}
	if !changed {
		return nil
	}
	return out
}
