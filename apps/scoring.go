package apps

import (
	"context"
	"fmt"
	"slices"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/jobs"
	"github.com/voxloop/voxloop/internal/ordered"
)

// scoringMethod is a way of scoring what is stored.
type scoringMethod struct {
	name, description string
	run               jobs.Runner
}

// builtinScoring lists the methods in the order in which clients show them.
func (a *App) builtinScoring() []scoringMethod {
	return []scoringMethod{
		{"dice", "Compute Dice for predicated label vs submitted", a.scoreDice}, // as the reference words it
		{"sum", "Compute Numpy Sum for Final/Original Labels", a.scoreSum},
		{a.selection.model + epistemicSuffix, "Score how sure the model is of the unlabelled images", a.scoreUncertainty},
	}
}

// chooseScoring returns the methods that the app's file names, or all.
func chooseScoring(f File, all []scoringMethod) ([]scoringMethod, error) {
	if f.Scoring == nil {
		return all, nil
	}
	var out []scoringMethod
	for i, name := range f.Scoring {
		k := slices.IndexFunc(all, func(m scoringMethod) bool { return m.name == name })
		if k < 0 {
			return nil, fault.New(fault.Invalid, "%s: scoring[%d] %q is unknown", FileName, i, name)
		}
		out = append(out, all[k])
	}
	return out, nil
}

// ScoringMethods returns the names of the app's scoring methods.
func (a *App) ScoringMethods() []string {
	var names []string
	for _, m := range a.scoring {
		names = append(names, m.name)
	}
	return names
}

func (a *App) scoringObject() *ordered.Map {
	o := &ordered.Map{}
	for _, m := range a.scoring {
		o.Set(m.name, ordered.Of("description", m.description))
	}
	return o
}

// score is the jobs.Runner of scoring tasks.
func (a *App) score(ctx context.Context, j *jobs.Job) (any, error) {
	name := j.Request.String("method")
	i := slices.IndexFunc(a.scoring, func(m scoringMethod) bool { return m.name == name })
	if i < 0 {
		return nil, fault.New(fault.NotFound, "this app has no scoring method %q", clip(name))
	}
	return a.scoring[i].run(ctx, j)
}

// eachScored calls fn for every stored image, in the order of their ids, in
// turns of the background. fn says whether it had anything to do. An image that
// fails is named in the details and left out.
func (a *App) eachScored(ctx context.Context, j *jobs.Job, fn func(ctx context.Context, img datastore.Image) (bool, error)) error {
	var ids []string
	for img := range a.store.All() {
		if img.Quarantined == "" && len(img.Labels) > 0 {
			ids = append(ids, img.ID)
		}
	}
	slices.Sort(ids)
	scored, failed := 0, 0
	j.Log(stamped(fmt.Sprintf("%d images with labels", len(ids))))
	for i, id := range ids {
		leave, _, err := a.background.enter(ctx)
		if err != nil {
			return err
		}
		did := false
		img, err := a.store.Image(id)
		if err == nil {
			did, err = fn(ctx, img)
		}
		leave()
		switch {
		case ctx.Err() != nil:
			return fault.Wrap(fault.Canceled, ctx.Err(), "the scoring was stopped")
		case err == nil && did:
			scored++
		case err == nil:
		case slices.Contains([]fault.Kind{fault.Unavailable, fault.NoSpace}, fault.KindOf(err)):
			return err
		default:
			failed++
			msg, ok := fault.Message(err)
			if !ok {
				msg = "it failed; the server's log says why"
			}
			a.log.Warn("an image could not be scored", "task", j.ID, "image", id, "err", err)
			j.Log(stamped(id + ": " + msg))
		}
		j.Progress(stamped(fmt.Sprintf("%d of %d images: %d scored, %d failed", i+1, len(ids), scored, failed)))
	}
	return nil
}
