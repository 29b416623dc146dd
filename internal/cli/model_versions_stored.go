package cli

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/conf"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

// storedShelf works on the state folder of a server that does not run.
type storedShelf struct {
	s     streams
	f     modelFlags
	dir   string // of all models' versions
	lock  *os.File
	app   appSource
	refs  []apps.ModelRef
	serve *infer.Registry // opened when a version has to be tested
}

var _ shelf = (*storedShelf)(nil)

// openStoredShelf takes the lock of the state folder: a running server is
// never disturbed.
func openStoredShelf(s streams, f modelFlags) (*storedShelf, error) {
	state := f.state
	if state == "" {
		state = filepath.Join(f.studies, ".voxloop")
	}
	if !isDir(state) {
		return nil, fault.New(fault.NotFound, "%s is no state folder: no server ran on it", state)
	}
	src, err := findApp(f.app)
	if err != nil {
		return nil, err
	}
	file, err := apps.ReadFile(src.fsys)
	if err != nil {
		return nil, err
	}
	lock, err := lockStopped(state)
	if err != nil {
		return nil, err
	}
	return &storedShelf{s: s, f: f, dir: filepath.Join(state, "models"), lock: lock, app: src, refs: file.Models}, nil
}

// lockStopped takes the lock that a server holds on its state folder.
func lockStopped(state string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(state, "lock"), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // a fixed name in the state folder
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		owner, _ := io.ReadAll(io.LimitReader(f, 20))
		_ = f.Close()
		return nil, fault.Wrap(fault.Conflict, err, "a server runs on %s (process %s): ask it with --server", state, strings.TrimSpace(string(owner)))
	}
	return f, nil
}

func (t *storedShelf) close() error {
	var err error
	if t.serve != nil {
		err = t.serve.Close()
	}
	return errors.Join(err, t.lock.Close())
}

func (t *storedShelf) names(context.Context) ([]string, error) {
	var out []string
	for _, m := range t.refs {
		out = append(out, m.Name)
	}
	return out, nil
}

// shelf opens a model's versions without loading any.
func (t *storedShelf) shelf(model string) (*infer.Shelf, error) {
	if !slices.ContainsFunc(t.refs, func(m apps.ModelRef) bool { return m.Name == model }) {
		names, _ := t.names(context.Background()) // cannot fail
		return nil, fault.New(fault.NotFound, "app %s has no model %q; it has %s", t.f.app, model, strings.Join(names, ", "))
	}
	s, warning, err := infer.OpenShelf(infer.ShelfDir(t.dir, model))
	if warning != "" {
		quietLogger(t.s.err).Warn("what is in service was damaged", "model", model, "warning", warning)
	}
	return s, err
}

func (t *storedShelf) versions(_ context.Context, model string) (*ordered.Map, error) {
	s, err := t.shelf(model)
	if err != nil {
		return nil, err
	}
	all, err := s.All()
	if err != nil {
		return nil, err
	}
	history, err := s.History()
	if err != nil {
		return nil, err
	}
	return plain(apps.VersionsObject(model, all, history))
}

// plain gives an object the form that it has after its way over the wire.
func plain(o *ordered.Map) (*ordered.Map, error) {
	data, err := ordered.Marshal(o)
	if err != nil {
		return nil, err
	}
	return ordered.Parse(data)
}

// one is an answer about one version.
func one(v infer.Version, err error) (*ordered.Map, error) {
	if err != nil {
		return nil, err
	}
	return plain(apps.VersionObject(v))
}

func (t *storedShelf) pin(ctx context.Context, model, version string, on bool) (*ordered.Map, error) {
	s, err := t.shelf(model)
	if err != nil {
		return nil, err
	}
	id, err := s.Find(version)
	if err == nil {
		err = s.Pin(id, on)
	}
	if err != nil {
		return nil, err
	}
	m, err := t.versions(ctx, model)
	if err != nil {
		return nil, err
	}
	return oneVersion(m, id)
}

func (t *storedShelf) retire(_ context.Context, model, version string) (*ordered.Map, error) {
	s, err := t.shelf(model)
	if err != nil {
		return nil, err
	}
	var gone []string
	if version == "" {
		gone, err = s.RetireOld(conf.Default().Models.Keep)
	} else {
		gone = make([]string, 1)
		gone[0], err = s.Retire(version)
	}
	if err != nil {
		return nil, err
	}
	return plain(ordered.Of("retired", append([]string{}, gone...)))
}

// registry loads what is in service of a model, as a server does.
func (t *storedShelf) registry(ctx context.Context, model string) (*infer.Registry, error) {
	if _, err := t.shelf(model); err != nil {
		return nil, err
	}
	log := quietLogger(t.s.err)
	t.serve = infer.NewRegistry(infer.RegistryOptions{
		Runtime: lazyRuntime(t.f.ort, t.f.device, t.s.err, log), Device: t.f.device, CacheDir: modelCache(), Logger: log,
		Versions: t.dir, Keep: conf.Default().Models.Keep,
	})
	i := slices.IndexFunc(t.refs, func(m apps.ModelRef) bool { return m.Name == model })
	sub, err := fs.Sub(t.app.fsys, t.refs[i].Path)
	if err != nil {
		return nil, err
	}
	if err := t.serve.AddFS(model, sub); err != nil && fault.KindOf(err) == fault.Unavailable {
		return nil, err
	}
	if err := t.serve.Wait(ctx, model); err != nil && ctx.Err() != nil {
		return nil, err // a model of which nothing is usable can be given a version
	}
	return t.serve, nil
}

func (t *storedShelf) publish(ctx context.Context, model, version, reason string) (*ordered.Map, error) {
	r, err := t.registry(ctx, model)
	if err != nil {
		return nil, err
	}
	return one(r.Publish(ctx, model, version, infer.Cause{Origin: infer.OriginOperator, Reason: reason}))
}

func (t *storedShelf) rollback(ctx context.Context, model, reason string) (*ordered.Map, error) {
	r, err := t.registry(ctx, model)
	if err != nil {
		return nil, err
	}
	return one(r.Rollback(ctx, model, infer.Cause{Reason: reason}))
}

// put records and tests a version; no policy of a server publishes it here.
func (t *storedShelf) put(ctx context.Context, model, from, reason string) (*ordered.Map, error) {
	r, err := t.registry(ctx, model)
	if err != nil {
		return nil, err
	}
	files, err := modelFiles(from)
	if err != nil {
		return nil, err
	}
	base, _, _ := r.Folder(model)
	sent := infer.Sent{Base: base, Files: map[string]string{}}
	for _, f := range files {
		name := filepath.Base(f)
		if len(files) == 1 {
			name = infer.NetworkFile
		}
		sent.Files[name] = f
	}
	v, err := r.Record(model, sent, infer.Cause{Origin: infer.OriginPut, Reason: reason})
	if err != nil {
		return nil, err
	}
	return one(v, r.Test(ctx, model, v.ID))
}
