package trainers

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/augment"
)

// LoaderOptions say what the batches of a training hold. Data, Cases, Patch and
// Batch are needed; the rest of the zero value works.
type LoaderOptions struct {
	Data  Data // a Cache is used as it is; another one gets a Cache of CacheBytes
	Cases []Case
	Patch [3]int // voxels along the network's array axes
	Batch int    // patches
	Seed  uint64

	// Recipe is applied to every patch; nil: patches are only cut. Where it pads
	// with a constant and leaves that at 0, it is Spec.Padding. For a 2-D model it
	// stays within the slice: it turns about x only.
	Recipe *augment.Recipe
	// Oversample is the share of the patches that are centred on foreground, of a
	// class drawn evenly among those of the case: at least one in a batch of
	// several. 0 or less: none.
	Oversample  float64
	IgnoreIndex int  // class index of voxels that do not count; 0: none
	InOrder     bool // cases in the given order and patches from their middle: nothing but Recipe is random

	CacheBytes int64
	Workers    int // goroutines that prepare; 0: 2
	Ahead      int // steps that are prepared in advance; 0: 3

	// Warn is told of every case that is left out, by the goroutine that calls
	// NewLoader or Next; nil: nobody.
	Warn func(text string)
}

// Batch is what one step of a training sees.
type Batch struct {
	Step   int
	X      []float32 // [N, channels, patch…]
	Labels []float32 // [N, 1, patch…], class indices
	Cases  []string  // ids, per patch
}

// Loader makes the batches of a training in the background. What a batch holds
// is a function of the options, the content of the cases and the step's number
// alone: not of the number of workers, of the cache, or of which step came
// before.
type Loader struct {
	o        LoaderOptions
	spec     Spec
	data     *Cache
	own      bool // the Cache
	augment  *augment.Augmenter
	sampler  sampler
	cases    []*loaderCase
	ctx      context.Context //nolint:containedctx // of the workers; Close ends it
	cancel   context.CancelFunc
	workers  sync.WaitGroup
	closeAll func() error

	mu       sync.Mutex
	wake     *sync.Cond
	closed   bool
	queue    []task
	slots    map[int]*slot
	spare    []*Batch
	last     *Batch // with the caller
	warnings []string
	passes   map[int][]int // order of the cases by pass
}

// loaderCase is a case that can be trained on.
type loaderCase struct {
	Case
	places *places
	bad    bool // it could not be loaded again; guarded by the loader
}

// NewLoader looks at every case once. Those that cannot be loaded are left out
// with a warning; it is an error (Invalid) when none is left. Close ends the
// workers and, unless Data came as a Cache, leaves Data open.
func NewLoader(ctx context.Context, o LoaderOptions) (*Loader, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	l := &Loader{o: o, spec: o.Data.Spec(), slots: make(map[int]*slot), passes: make(map[int][]int)}
	l.wake = sync.NewCond(&l.mu)
	if err := l.openAugmenter(); err != nil {
		return nil, err
	}
	var ok bool
	if l.data, ok = o.Data.(*Cache); !ok {
		l.data, l.own = NewCache(leftOpen{o.Data}, o.CacheBytes), true
	}
	l.data.hold()
	if err := l.survey(ctx); err != nil {
		return nil, errors.Join(err, l.letGo())
	}
	l.sampler = sampler{seed: o.Seed, patch: o.Patch, batch: o.Batch, share: o.Oversample, inOrder: o.InOrder}
	for _, c := range l.cases {
		l.sampler.ids = append(l.sampler.ids, c.ID)
	}
	l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for range o.Workers {
		l.workers.Go(l.work)
	}
	l.closeAll = sync.OnceValue(l.shutdown)
	return l, nil
}

// leftOpen is a Data that somebody else closes.
type leftOpen struct{ Data }

func (leftOpen) Close() error { return nil }

func (o LoaderOptions) withDefaults() (LoaderOptions, error) {
	switch {
	case len(o.Cases) == 0:
		return o, fault.New(fault.Invalid, "there are no cases to train on")
	case o.Batch < 1:
		return o, fault.New(fault.Invalid, "a batch of %d patches", o.Batch)
	case o.Oversample > 1:
		return o, fault.New(fault.Invalid, "a share of %g of the patches with foreground is above 1", o.Oversample)
	}
	for _, p := range o.Patch {
		if p < 1 {
			return o, fault.New(fault.Invalid, "a patch of %v voxels", o.Patch)
		}
	}
	if o.Data.Spec().Dimension == 2 && o.Patch[0] != 1 {
		return o, fault.New(fault.Invalid, "the patch %v is no slice: the first number must be 1 for a 2-D model", o.Patch)
	}
	if o.Workers <= 0 {
		o.Workers = 2
	}
	if o.Ahead <= 0 {
		o.Ahead = 3
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	return o, nil
}

// openAugmenter readies the recipe. Workers take a patch each, so one goroutine
// per patch is enough.
func (l *Loader) openAugmenter() (err error) {
	var r augment.Recipe
	if l.o.Recipe != nil {
		r = *l.o.Recipe
		if err := r.Validate(); err != nil {
			return err
		}
	}
	if l.spec.Dimension == 2 {
		r = inSlices(r)
	}
	if r.PadValue == 0 && (r.Padding == "" || r.Padding == augment.PadConstant) {
		r.PadValue = float64(l.spec.Padding)
	}
	l.augment, err = augment.New(r, augment.Options{Workers: 1})
	return err
}

// survey loads every case once and remembers where its foreground is.
func (l *Loader) survey(ctx context.Context) error {
	found := make([]*loaderCase, len(l.o.Cases))
	reasons := make([]string, len(l.o.Cases))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(l.o.Workers, runtime.GOMAXPROCS(0)))
	for i, c := range l.o.Cases {
		g.Go(func() error {
			s, err := l.data.Load(gctx, c)
			if err != nil {
				var ok bool
				if reasons[i], ok = caseFault(gctx, err); ok {
					return nil
				}
				return err
			}
			found[i] = &loaderCase{Case: c, places: placesOf(s, l.o.IgnoreIndex, l.o.Seed)}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		if ctx.Err() != nil {
			return fault.Wrap(fault.Canceled, err, "looking at the cases was stopped")
		}
		return err
	}
	var first string
	for i, c := range found {
		if c != nil {
			l.cases = append(l.cases, c)
			continue
		}
		if first == "" {
			first = reasons[i]
		}
		l.o.Warn("left out: " + reasons[i])
	}
	if len(l.cases) == 0 {
		return fault.New(fault.Invalid, "none of the %d cases can be trained on; the first one: %s", len(l.o.Cases), first)
	}
	return nil
}

// caseFault tells whether an error of Data.Load lies in the case itself, and
// its reason.
func caseFault(ctx context.Context, err error) (reason string, ok bool) {
	reason, ok = fault.Message(err)
	if !ok || ctx.Err() != nil {
		return "", false
	}
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Missing, fault.NotFound, fault.TooLarge:
		return reason, true
	case fault.Internal, fault.Conflict, fault.Busy, fault.Unavailable, fault.NoSpace, fault.Canceled:
	}
	return "", false
}

// Cases are those that are trained on, in the given order.
func (l *Loader) Cases() []Case {
	out := make([]Case, len(l.cases))
	for i, c := range l.cases {
		out[i] = c.Case
	}
	return out
}

// Close ends the workers and waits for them. It is safe to call twice.
func (l *Loader) Close() error { return l.closeAll() }

func (l *Loader) shutdown() error {
	l.cancel()
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.wake.Broadcast()
	l.workers.Wait()
	return l.letGo()
}

func (l *Loader) letGo() error {
	l.data.drop()
	if !l.own {
		return nil
	}
	if err := l.data.Close(); err != nil {
		return fmt.Errorf("close the cache of prepared cases: %w", err)
	}
	return nil
}
