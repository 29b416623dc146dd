package apps

import (
	"context"
	"encoding/json"
	"io/fs"
	"slices"
	"strings"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
)

// VersionOptions tune what happens to new versions of models.
type VersionOptions struct {
	Keep         int   // newest versions of a model that stay on disk; 0: infer's default
	KeepPrevious int64 // bytes of networks that stay loaded for a rollback at once; 0: none

	// Policy says what becomes of candidates that come by themselves, by their
	// origin. nil: a sent file goes into service, a trained model waits until
	// somebody publishes it.
	Policy map[infer.Origin]Policy
}

// Policy says whether a candidate goes into service. It is about versions that
// a client sent or a training made, not about those that somebody publishes by
// name. Whatever the policy, a candidate that fails its self-test is refused.
type Policy string

// The policies.
const (
	PublishAlways Policy = "publish"
	PublishBetter Policy = "gate"      // when it is proven better; see App.Judge
	PublishNever  Policy = "candidate" // it waits
)

// decide returns whether to publish a candidate, and why for the history.
func (a *App) decide(ctx context.Context, model string, v infer.Version) (publish bool, why string, err error) {
	policy := a.opts.Versions.Policy
	if policy == nil {
		policy = map[infer.Origin]Policy{infer.OriginPut: PublishAlways}
	}
	if why := a.loop.watch.withdrawn(model, v.ID); why != "" {
		a.log.Info("a version was taken out of service before and stays a candidate", "model", model, "version", v.ID, "why", why)
		return false, "", nil
	}
	switch policy[v.Origin] {
	case PublishAlways:
		return true, v.Reason, nil
	case PublishBetter:
		j, err := a.Judge(ctx, model, v.ID)
		return err == nil && j.Verdict.Pass, j.Verdict.Reason, err
	default:
		return false, "", nil
	}
}

// versioner is an Engine whose models have versions; infer.Registry is one.
type versioner interface {
	Folder(name string) (fsys fs.FS, dir string, ok bool)
	Record(name string, fsys fs.FS, c infer.Cause) (infer.Version, error)
	Publish(ctx context.Context, name, version string, c infer.Cause) (infer.Version, error)
	Rollback(ctx context.Context, name string, c infer.Cause) (infer.Version, error)
	Test(ctx context.Context, name, version string) error
	Pin(name, version string, on bool) (infer.Version, error)
	Retire(ctx context.Context, name, version string) ([]string, error)
	Versions(name string) ([]infer.Version, error)
	History(name string) ([]infer.Swap, error)
	Subscribe(fn func(model string, s infer.Swap)) (cancel func())
}

var _ versioner = (*infer.Registry)(nil)

// versions returns the engine's versions of models.
func (a *App) versions() (versioner, error) {
	v, ok := a.engine.(versioner)
	if !ok {
		return nil, fault.New(fault.Unavailable, "the models of this server have no versions")
	}
	return v, nil
}

// ModelFile opens the network of the version of a model that is in service: the
// file, and the name under which clients get it. The caller closes it.
func (a *App) ModelFile(name string) (fs.File, string, error) {
	i := slices.IndexFunc(a.refs, func(m ModelRef) bool { return m.Name == name })
	if i < 0 {
		return nil, "", fault.New(fault.NotFound, "Model File NOT Found for %s", clip(name))
	}
	fsys, file := a.fsys, strings.TrimSuffix(a.refs[i].Path, "/")+"/"+infer.NetworkFile
	if v, ok := a.engine.(versioner); ok {
		if folder, _, ok := v.Folder(name); ok {
			fsys, file = folder, infer.NetworkFile
		}
	}
	f, err := fsys.Open(file)
	if err != nil {
		return nil, "", fault.Wrap(fault.NotFound, err, "Model File NOT Found for %s", name)
	}
	return f, name + ".onnx", nil
}

// ModelTraining returns the training.json of the version in service, or of the
// nearest version that it descends from; nil when none was trained here.
func (a *App) ModelTraining(name string) json.RawMessage {
	v, err := a.versions()
	if err != nil {
		return nil
	}
	all, err := v.Versions(name)
	if err != nil {
		return nil
	}
	i := slices.IndexFunc(all, func(x infer.Version) bool { return x.InService })
	for range all { // a chain of parents is no longer than the list
		if i < 0 || all[i].Training != nil {
			break
		}
		parent := all[i].Parent
		i = slices.IndexFunc(all, func(x infer.Version) bool { return x.ID == parent })
	}
	if i < 0 {
		return nil
	}
	return all[i].Training
}

// ModelVersions returns the versions of a model, newest first, the app's own
// last, and the history of swaps, oldest first.
func (a *App) ModelVersions(name string) ([]infer.Version, []infer.Swap, error) {
	v, err := a.versions()
	if err != nil {
		return nil, nil, err
	}
	all, err := v.Versions(name)
	if err != nil {
		return nil, nil, err
	}
	history, err := v.History(name)
	return all, history, err
}

// OfferModel records a model folder as a candidate and lets the policy
// decide: published tells whether it went into service. One that stays a
// candidate is tested all the same; the error tells that it failed.
func (a *App) OfferModel(ctx context.Context, name string, folder fs.FS, c infer.Cause) (v infer.Version, published bool, err error) {
	e, err := a.versions()
	if err != nil {
		return v, false, err
	}
	if v, err = e.Record(name, folder, c); err != nil {
		return v, false, err
	}
	// Content that was there before keeps its own origin; this wish has another.
	asked := v
	asked.Cause = c
	publish, why, err := a.decide(ctx, name, asked)
	if err != nil {
		return v, false, err
	}
	if !publish {
		if err := e.Test(ctx, name, v.ID); err != nil {
			return v, false, err
		}
		if a.loop.rules.o.Shadow.On && v.ID != a.serving(name) {
			a.loop.shadows.begin(name, v.ID, a.serving(name))
		}
		return v, false, nil
	}
	done, err := e.Publish(ctx, name, v.ID, infer.Cause{Origin: c.Origin, Reason: why})
	if err != nil {
		return v, false, err
	}
	return done, true, nil
}

// PutModel takes a network that a client sent, with whatever else of a model
// folder came along (by name in the folder). Without a manifest the one of the
// version in service applies. See OfferModel.
func (a *App) PutModel(ctx context.Context, name string, files map[string]*Upload, reason string) (infer.Version, bool, error) {
	e, err := a.versions()
	if err != nil {
		return infer.Version{}, false, err
	}
	base, _, ok := e.Folder(name)
	if !ok {
		return infer.Version{}, false, fault.New(fault.NotFound, "Model File Name NOT configured for %s", clip(name))
	}
	sent := infer.Sent{Base: base, Files: map[string]string{}}
	for as, u := range files {
		if !infer.SentFile(as) {
			return infer.Version{}, false, fault.New(fault.Invalid, "%q is no name of a file in a model folder", clip(as))
		}
		sent.Files[as] = u.Path
	}
	return a.OfferModel(ctx, name, sent, infer.Cause{Origin: infer.OriginPut, Reason: reason})
}

// PublishModel puts a version into service; see infer.Registry.
func (a *App) PublishModel(ctx context.Context, name, version string, c infer.Cause) (infer.Version, error) {
	v, err := a.versions()
	if err != nil {
		return infer.Version{}, err
	}
	return v.Publish(ctx, name, version, c)
}

// RollbackModel puts the version before into service.
func (a *App) RollbackModel(ctx context.Context, name, reason string) (infer.Version, error) {
	v, err := a.versions()
	if err != nil {
		return infer.Version{}, err
	}
	return v.Rollback(ctx, name, infer.Cause{Origin: infer.OriginRollback, Reason: reason})
}

// PinModel pins a version, or no longer.
func (a *App) PinModel(name, version string, on bool) (infer.Version, error) {
	v, err := a.versions()
	if err != nil {
		return infer.Version{}, err
	}
	return v.Pin(name, version, on)
}

// RetireModel deletes a version, or those that the policy no longer keeps.
func (a *App) RetireModel(ctx context.Context, name, version string) ([]string, error) {
	v, err := a.versions()
	if err != nil {
		return nil, err
	}
	return v.Retire(ctx, name, version)
}

// RemoveModel takes the version in service out of it: the app's own serves
// again. The version stays on disk as a candidate. Where the app's own serves
// there is nothing to remove: fault.NotFound.
func (a *App) RemoveModel(ctx context.Context, name string) error {
	v, err := a.versions()
	if err != nil {
		return err
	}
	all, err := v.Versions(name)
	if err != nil || !slices.ContainsFunc(all, func(x infer.Version) bool { return x.InService && !x.App }) {
		if err == nil || fault.KindOf(err) == fault.NotFound {
			return fault.New(fault.NotFound, "Model File NOT Found for %s", clip(name))
		}
		return err
	}
	_, err = v.Publish(ctx, name, infer.AppVersion, infer.Cause{Origin: infer.OriginOperator, Reason: "removed"})
	return err
}
