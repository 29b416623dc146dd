package apps

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/jobs"
	"github.com/voxloop/voxloop/internal/ordered"
)

// infoVersion is the key of a proposal's info that names the version of the
// model that made it, beside "model".
const infoVersion = "model_version"

// batchRequest is a request for a batch inference that was understood.
type batchRequest struct {
	model  infer.Info
	images string   // all, labeled, unlabeled; "" when ids are given
	ids    []string // the images themselves
	most   int      // images at most; 0: all
	again  bool     // also what the version in service did already
	wishes wishes
}

// batch is the jobs.Runner of batch inference: it segments stored images one
// after the other, in the order of their ids. An image that fails is named in
// the details and left out. What the version in service has segmented already
// is skipped, which is also how an interrupted task goes on.
func (a *App) batch(ctx context.Context, j *jobs.Job) (any, error) {
	model, ok := a.engine.Model(j.Request.String("model"))
	if !ok {
		return nil, fault.New(fault.NotFound, "there is no model %q", clip(j.Request.String("model")))
	}
	if err := a.engine.Wait(ctx, model.Name); err != nil {
		return nil, err
	}
	model, _ = a.engine.Model(model.Name) // now its version is known
	r, err := parseBatch(j.Request, model)
	if err != nil {
		return nil, err
	}
	if r.wishes.save && a.opts.ReadOnly {
		return nil, fault.New(fault.Unavailable, "save_label: the studies are read only")
	}
	images, err := a.batchImages(r)
	if err != nil {
		return nil, err
	}
	run := &batchRun{app: a, job: j, request: r, left: len(images), total: len(images)}
	if j.Attached {
		run.result = &ordered.Map{}
	}
	return run.all(ctx, images)
}

// parseBatch reads a request. Its keys are those of an inference's params, and
// images, max_batch_size and again. Faults: Missing, naming the key.
func parseBatch(o *ordered.Map, m infer.Info) (batchRequest, error) {
	r := batchRequest{model: m, images: "all"}
	switch v := value(o, "images").(type) {
	case nil:
	case string:
		if r.images = v; !slices.Contains([]string{"all", "labeled", "unlabeled"}, v) {
			return r, fault.New(fault.Missing, "images must be 'all', 'labeled', 'unlabeled' or a list of ids")
		}
	case []any:
		r.images = ""
		for _, e := range v {
			id, ok := e.(string)
			if !ok {
				return r, fault.New(fault.Missing, "images must hold ids of images only")
			}
			r.ids = append(r.ids, id)
		}
	default:
		return r, fault.New(fault.Missing, "images must be 'all', 'labeled', 'unlabeled' or a list of ids")
	}
	if v := value(o, "max_batch_size"); v != nil {
		n, ok := asInt(v)
		if !ok || n < 0 {
			return r, fault.New(fault.Missing, "max_batch_size must be a number of images, 0 for all")
		}
		r.most = n
	}
	r.again = truthy(value(o, "again"))
	var err error
	if r.wishes, err = parseWishes(o, m); err != nil {
		return r, err
	}
	r.wishes.write = false
	if _, given := o.Get("save_label"); !given {
		r.wishes.save = true
	}
	return r, nil
}

// batchImages returns the ids of the images that were asked for.
func (a *App) batchImages(r batchRequest) ([]string, error) {
	ids := slices.Clone(r.ids)
	if r.images == "" {
		for _, id := range ids {
			if err := datastore.CheckID(id); err != nil {
				return nil, err
			}
		}
	} else {
		for img := range a.store.All() {
			_, labelled := img.Label(datastore.TagFinal)
			if img.Quarantined == "" && (r.images == "all" || labelled == (r.images == "labeled")) {
				ids = append(ids, img.ID)
			}
		}
		slices.Sort(ids)
	}
	if r.most > 0 && len(ids) > r.most {
		ids = ids[:r.most]
	}
	return ids, nil
}

// batchDone reports why an image needs no inference: its label of the tag was
// made by the version in service and is no older than the image, or it is a
// person's work, which no batch replaces unless it was told so.
func (r *batchRequest) batchDone(img datastore.Image) (why string) {
	l, ok := img.Label(r.wishes.tag)
	if !r.wishes.save || r.again || !ok {
		return ""
	}
	switch l.Info.String("model") {
	case "":
		return "has a label that no model made"
	case r.model.Name:
	default:
		return ""
	}
	if l.Info.String(infoVersion) != r.model.Version {
		return ""
	}
	made, err := os.Stat(l.Path)
	if err != nil {
		return ""
	}
	for _, f := range img.Files {
		if s, err := os.Stat(f); err != nil || s.ModTime().After(made.ModTime()) {
			return ""
		}
	}
	return "done already"
}

// segmentStored runs a model on a stored image, as Infer does for a client.
func (a *App) segmentStored(ctx context.Context, model infer.Info, w wishes, img datastore.Image) (_ *InferResult, err error) {
	defer func() { a.metrics.inferred(model.Name, err) }()
	if img.Quarantined != "" {
		return nil, fault.New(fault.Conflict, "it is quarantined: %s", img.Quarantined)
	}
	src := source{id: img.ID, files: img.Files, what: "the image", ext: img.Ext}
	run := &run{app: a, model: model, wishes: w, src: src, times: timings{begin: time.Now()}}
	if err := run.segment(ctx, nil); err != nil {
		return nil, err
	}
	return run.finish(ctx, true)
}

// remaining says how long work takes at the present pace.
func remaining(each time.Duration, left int) string {
	d := (each * time.Duration(left)).Round(time.Second)
	return fmt.Sprintf("%d:%02d:%02d left", int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60)
}
