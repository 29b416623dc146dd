package apps

import (
	"io/fs"
	"path/filepath"

	"github.com/voxloop/voxloop/infer"
)

// openEngine adds the models. A broken one is kept out of service and named in
// the log and on the status page; the others serve.
func (a *App) openEngine() Engine {
	r := infer.NewRegistry(infer.RegistryOptions{
		Runtime: a.opts.Runtime, Device: a.opts.Device, Threads: a.opts.Threads,
		CacheDir: filepath.Join(a.opts.State, "cache"), QueueLength: a.opts.Limits.QueueLength,
		MaxVoxels: a.opts.Limits.MaxVoxels, Logger: a.log,
		Versions: filepath.Join(a.opts.State, "models"), Keep: a.opts.Versions.Keep, KeepPrevious: a.opts.Versions.KeepPrevious,
	})
	for _, m := range a.refs {
		if err := a.addModel(r, m); err != nil {
			a.log.Error("model is not in service", "model", m.Name, "err", err)
		}
	}
	return r
}

func (a *App) addModel(r *infer.Registry, m ModelRef) error {
	if a.opts.Dir != "" {
		return r.Add(m.Name, filepath.Join(a.opts.Dir, filepath.FromSlash(m.Path)))
	}
	sub, err := fs.Sub(a.fsys, m.Path)
	if err != nil {
		return err
	}
	return r.AddFS(m.Name, sub)
}
