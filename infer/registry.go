package infer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
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

	// Versions is the folder of the models' versions (see Shelf), below the state
	// folder whose lock the caller holds; "": only the apps' own models serve.
	Versions     string
	Keep         int   // newest versions of a model that are kept on disk; 0 means 5
	KeepPrevious int64 // bytes of network files that stay loaded for a rollback at once; 0: none

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

	mu          sync.Mutex
	closed      bool
	entries     []*entry
	queues      map[string]*queue
	subscribers map[int]func(string, Swap)
	subscribed  int // ever
}

// entry is one model. Fields below ready are guarded by the registry.
type entry struct {
	name  string
	own   *source // version 0, the app's own
	bad   error   // why version 0 cannot be used
	shelf *Shelf  // further versions; nil: none are kept
	turn  *queue  // one swap at a time
	ready chan struct{}

	info    Info     // of what is in service, or would be
	err     error    // why it is unavailable
	ownID   string   // the hash of version 0; "" before it was loaded
	ownSum  string   // and the SHA-256 of its network
	version *version // in service
	spare   *version // loaded for a rollback, not in service
	loading string   // id of the version that a swap is loading
	open    []*version
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
	if r.o.Keep <= 0 {
		r.o.Keep = 5
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

// Add puts the model in a folder into service under a name, or the one of its
// versions that took its place. The manifest is checked at once; the network is
// loaded in the background. A model that cannot be used is recorded as
// unavailable, and the reason is returned.
func (r *Registry) Add(name, dir string) error { return r.add(name, os.DirFS(dir), dir) }

// AddFS is Add for a model in a file system, such as an embedded one.
func (r *Registry) AddFS(name string, fsys fs.FS) error { return r.add(name, fsys, "") }

func (r *Registry) add(name string, fsys fs.FS, dir string) error {
	e := &entry{name: name, ready: make(chan struct{}), turn: newQueue(maxSwapsWaiting)}
	e.info = Info{Name: name, Type: typeSegmentation, Dimension: 3, State: Loading, Config: &ordered.Map{}}
	e.own, e.bad = readSource(fsys, dir, "")
	if e.bad == nil {
		e.info = e.own.m.info(name)
	}
	var first []string // versions to try before the app's own
	if r.o.Versions != "" {
		var err error
		if first, err = r.openShelf(e); err != nil {
			return err
		}
	}
	e.info.Config.Set("device", []any{r.device()})
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errClosed()
	}
	if r.find(name) != nil {
		return fault.New(fault.Conflict, "a model with the name %s is in service already", name)
	}
	r.entries = append(r.entries, e)
	if e.bad != nil && len(first) == 0 {
		e.fail(e.bad)
		return e.bad
	}
	r.wg.Go(func() { r.loadEntry(e, first) })
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

// Folder returns where the files of the version in service are: their file
// system, and the folder on disk unless it is embedded. Of a model that is not
// in service they are the app's own.
func (r *Registry) Folder(name string) (fsys fs.FS, dir string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.find(name)
	if e == nil {
		return nil, "", false
	}
	src := e.own
	if e.version != nil {
		src = e.version.src
	}
	return src.fsys, src.dir, true
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
		for _, v := range []*version{e.version, e.spare} {
			if v != nil {
				retired = append(retired, v)
			}
		}
		if e.version != nil {
			e.err, e.info.State, e.info.Reason = errClosed(), Unavailable, "shut down"
		}
		e.version, e.spare = nil, nil
	}
	r.mu.Unlock()
	for _, v := range retired {
		r.retire(v)
	}
	return nil
}
