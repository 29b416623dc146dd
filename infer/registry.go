package infer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/internal/ort"
)

// RegistryOptions tune a Registry. Runtime is needed; the rest of the zero
// value works.
type RegistryOptions struct {
	// Runtime finds and loads ONNX Runtime. It is called once, in the
	// background, when the first model is loaded.
	Runtime func(context.Context) (*ort.Runtime, error)

	Device      string // cpu, openvino, cuda; "": OpenVINO where it loads, else the CPU
	CacheDir    string // results of self-tests; "": nothing is kept
	Threads     int    // CPU threads of one network; 0: all cores
	QueueLength int    // inferences that may wait per device; 0 means 32
	MaxVoxels   int64  // largest prepared image, channels included; 0 means 1<<30
	Logger      *slog.Logger

	// Observe is told the steps of every inference when it ends; nil means nobody.
	Observe func(model string, s Stage)
}

// Registry holds the models in service. Models are loaded in the background;
// one that is broken is recorded with its reason and leaves the others alone.
// All methods may be called from many goroutines at once.
type Registry struct {
	o      RegistryOptions
	log    *slog.Logger
	pool   buffers
	ctx    context.Context //nolint:containedctx // ends background loading; Close cancels it
	cancel context.CancelFunc
	load   func() (*loader, error)
	wg     sync.WaitGroup // loading and inferences

	mu      sync.Mutex
	closed  bool
	entries []*entry
	queues  map[string]*queue
}

// entry is one model. Fields below ready are guarded by the registry.
type entry struct {
	name     string
	dir      string // "" for an embedded model
	fsys     fs.FS
	m        *Manifest
	manifest []byte
	ready    chan struct{} // closed when loading has ended

	info    Info
	err     error    // why it is unavailable
	version *version // in service
}

// NewRegistry returns an empty registry.
func NewRegistry(o RegistryOptions) *Registry {
	r := &Registry{o: o, log: o.Logger, queues: make(map[string]*queue)}
	if r.log == nil {
		r.log = slog.Default()
	}
	if r.o.QueueLength <= 0 {
		r.o.QueueLength = 32
	}
	if r.o.MaxVoxels <= 0 {
		r.o.MaxVoxels = 1 << 30
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.load = sync.OnceValues(r.newLoader)
	return r
}

func (r *Registry) newLoader() (*loader, error) {
	if r.o.Runtime == nil {
		return nil, fault.New(fault.Unavailable, "no ONNX Runtime was given")
	}
	rt, err := r.o.Runtime(r.ctx)
	if err != nil {
		return nil, err
	}
	return &loader{
		runtime: rt, device: r.o.Device, threads: r.o.Threads, maxVoxels: r.o.MaxVoxels, cacheDir: r.o.CacheDir,
		log: r.log, pool: &r.pool, testing: make(chan struct{}, 1),
	}, nil
}

// Add puts the model in a folder into service under a name. The manifest is
// checked at once; the network is loaded in the background. A model that
// cannot be used is recorded as unavailable, and the reason is returned.
func (r *Registry) Add(name, dir string) error {
	return r.add(&entry{name: name, dir: dir, fsys: os.DirFS(dir)})
}

// AddFS is Add for a model in a file system, such as an embedded one.
func (r *Registry) AddFS(name string, fsys fs.FS) error {
	return r.add(&entry{name: name, fsys: fsys})
}

func (r *Registry) add(e *entry) error {
	e.ready = make(chan struct{})
	e.info = Info{Name: e.name, Type: typeSegmentation, Dimension: 3, State: Loading, Config: &ordered.Map{}}
	m, manifest, err := readModel(e.fsys)
	if err == nil {
		e.m, e.manifest, e.info = m, manifest, m.info(e.name)
		e.info.Config.Set("device", []any{r.device()})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errClosed()
	}
	if r.find(e.name) != nil {
		return fault.New(fault.Conflict, "a model with the name %s is in service already", e.name)
	}
	r.entries = append(r.entries, e)
	if err != nil {
		e.fail(err)
		return err
	}
	r.wg.Go(func() { r.loadEntry(e) })
	return nil
}

func errClosed() error { return fault.New(fault.Unavailable, "the models are being shut down") }

// device is the one that clients are told about before the runtime is loaded.
func (r *Registry) device() string {
	if r.o.Device == "" {
		return ort.CPU
	}
	return r.o.Device
}

// loadEntry loads a model's network.
func (r *Registry) loadEntry(e *entry) {
	l, err := r.load()
	var v *version
	if err == nil {
		v, err = l.load(r.ctx, e.fsys, e.m, e.manifest)
		// Loading leaves several times the network's size behind. The system
		// gets it back now, not when the heap has doubled.
		debug.FreeOSMemory()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		if r.ctx.Err() == nil {
			r.log.Error("model is not in service", "model", e.name, "err", err)
		}
		e.fail(err)
		return
	}
	e.version, e.info.Version, e.info.State = v, v.id, Ready
	e.info.Config = e.info.Config.Clone().Set("device", []any{v.device})
	r.log.Info("model is in service", "model", e.name, "version", v.id, "device", v.device)
	close(e.ready)
}

// fail records why a model cannot serve.
func (e *entry) fail(err error) {
	reason, ok := fault.Message(err)
	if !ok {
		reason = "the network could not be loaded"
	}
	e.err, e.info.State, e.info.Reason = err, Unavailable, reason
	close(e.ready)
}

// find needs the lock.
func (r *Registry) find(name string) *entry {
	i := slices.IndexFunc(r.entries, func(e *entry) bool { return e.name == name })
	if i < 0 {
		return nil
	}
	return r.entries[i]
}

// Models returns all models in the order in which they were added.
func (r *Registry) Models() []Info {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Info, len(r.entries))
	for i, e := range r.entries {
		out[i] = e.info.clone()
	}
	return out
}

// Model returns one model.
func (r *Registry) Model(name string) (Info, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.find(name); e != nil {
		return e.info.clone(), true
	}
	return Info{}, false
}

func (i Info) clone() Info {
	i.Labels, i.Config = slices.Clone(i.Labels), i.Config.Clone()
	return i
}

// Folder returns where a model's files are: their file system, and the folder
// on disk unless it is embedded.
func (r *Registry) Folder(name string) (fsys fs.FS, dir string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.find(name); e != nil {
		return e.fsys, e.dir, true
	}
	return nil, "", false
}

// Wait returns when a model has been loaded, with the reason when that failed.
// The empty name waits for all models; their failures are joined.
func (r *Registry) Wait(ctx context.Context, name string) error {
	r.mu.Lock()
	wanted := slices.Clone(r.entries)
	if name != "" {
		wanted = slices.DeleteFunc(wanted, func(e *entry) bool { return e.name != name })
	}
	r.mu.Unlock()
	if name != "" && len(wanted) == 0 {
		return unknown(name)
	}
	var errs []error
	for _, e := range wanted {
		if err := r.wait(ctx, e); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func unknown(name string) error { return fault.New(fault.NotFound, "there is no model %q", name) }

func (r *Registry) wait(ctx context.Context, e *entry) error {
	select {
	case <-e.ready:
	case <-ctx.Done():
		return fault.Wrap(fault.Canceled, ctx.Err(), "model %s is still being loaded", e.name)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.err == nil {
		return nil
	}
	cause := e.err
	if f, ok := errors.AsType[*fault.Error](e.err); ok {
		cause = f.Err // its message is the reason already
	}
	return &fault.Error{Kind: fault.Unavailable, Msg: fmt.Sprintf("model %s is not in service: %s", e.name, e.info.Reason), Err: cause}
}

// Close stops loading, waits for the inferences that are running or waiting,
// and frees the networks. It is safe to call twice.
func (r *Registry) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.wg.Wait()
	r.mu.Lock()
	var retired []*version
	for _, e := range r.entries {
		if e.version != nil {
			retired = append(retired, e.version)
			e.version = nil
			e.err, e.info.State, e.info.Reason = errClosed(), Unavailable, "shut down"
		}
	}
	r.mu.Unlock()
	for _, v := range retired {
		r.retire(v)
	}
	return nil
}
