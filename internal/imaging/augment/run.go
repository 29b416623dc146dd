package augment

import (
	"context"
	"fmt"
	"runtime/debug"

	"golang.org/x/sync/errgroup"

	"github.com/voxloop/voxloop/internal/fault"
)

// run is one patch in work.
type run struct {
	ctx   context.Context //nolint:containedctx // lives for one call of Apply or Sample
	a     *Augmenter
	key   Key
	id    uint64 // of the case
	place int    // of the transform in the recipe
	p     *Patch
	spare *spare
}

// spare is memory of one patch in work, kept from call to call.
type spare struct {
	image   []float32
	labels  []uint16
	parts   []moments
	control []float64
	power   [][3]float32
}

func (a *Augmenter) begin(ctx context.Context, key Key, p *Patch) *run {
	return &run{ctx: ctx, a: a, key: key, id: key.caseHash(), p: p, spare: a.spare.Get().(*spare)}
}

func (a *Augmenter) end(r *run) { a.spare.Put(r.spare) }

// draws returns the parameters' sequence of the present transform, for the
// whole patch (channel -1) or one channel.
func (r *run) draws(channel int) *draws {
	return &draws{s: r.stream(channel, forParameters)}
}

func (r *run) stream(channel int, p purpose) stream {
	return newStream(r.key, r.id, r.place, channel, p)
}

// Chance says how often a transform of intensities is applied.
type Chance struct {
	Probability float64 `yaml:"probability"` // of a patch
	PerChannel  float64 `yaml:"per_channel"` // of each channel of a chosen patch; 0 (absent): every channel
}

func (c Chance) check() error {
	if err := checkProbability(c.Probability); err != nil {
		return err
	}
	if !(c.PerChannel >= 0 && c.PerChannel <= 1) {
		return fault.New(fault.Invalid, "per_channel: %g is not within 0..1", c.PerChannel)
	}
	return nil
}

// channels calls fn for every channel that the draw chooses, one after the
// other. Each channel draws its own parameters.
func (r *run) channels(c Chance, fn func(channel int, v []float32, d *draws) error) error {
	if !r.draws(-1).chance(c.Probability) {
		return nil
	}
	for ch := range r.p.Channels {
		d := r.draws(ch)
		if !d.chance(c.PerChannel) && c.PerChannel != 0 {
			continue
		}
		if err := fn(ch, r.p.Channel(ch), d); err != nil {
			return err
		}
	}
	return nil
}

// block is the number of voxels that one call of an element-wise function
// gets. It is fixed, so that sums over blocks do not depend on the workers.
const block = 1 << 12

// voxels calls fn for all blocks of v, in parallel; from is the block's first
// voxel, number its place.
func (r *run) voxels(v []float32, fn func(b []float32, from, number int)) error {
	blocks := (len(v) + block - 1) / block
	return r.each(blocks, 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			from := i * block
			fn(v[from:min(from+block, len(v))], from, i)
		}
	})
}

// each calls fn for consecutive ranges that cover [0, n), at least grain long,
// on the augmenter's workers, and waits.
func (r *run) each(n, grain int, fn func(from, to int)) error {
	const chunks = 4 // per worker: one slow core does not hold up the rest
	workers := r.a.workers
	length := max(grain, (n+workers*chunks-1)/(workers*chunks))
	if workers == 1 || n <= length {
		return r.serial(n, length, fn)
	}
	g, ctx := errgroup.WithContext(r.ctx)
	g.SetLimit(workers)
	for from := 0; from < n; from += length {
		g.Go(func() (err error) {
			defer func() {
				if p := recover(); p != nil { // it must not end a server
					err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
				}
			}()
			if err := ctx.Err(); err != nil {
				return err
			}
			fn(from, min(from+length, n))
			return nil
		})
	}
	return stopped(g.Wait())
}

func (r *run) serial(n, length int, fn func(from, to int)) error {
	for from := 0; from < n; from += length {
		if err := r.ctx.Err(); err != nil {
			return stopped(err)
		}
		fn(from, min(from+length, n))
	}
	return nil
}

func stopped(err error) error {
	if err == nil || fault.KindOf(err) != fault.Internal {
		return err
	}
	if isCancel(err) {
		return fault.Wrap(fault.Canceled, err, "augmentation was stopped")
	}
	return err
}

// copyOf returns v in the patch's spare memory.
func (r *run) copyOf(v []float32) ([]float32, error) {
	c := r.spareImage(len(v))
	return c, r.voxels(v, func(b []float32, from, _ int) { copy(c[from:], b) })
}

func (r *run) spareImage(n int) []float32 {
	r.spare.image = grow(r.spare.image, n)
	return r.spare.image
}

func (r *run) spareLabels(n int) []uint16 {
	r.spare.labels = grow(r.spare.labels, n)
	return r.spare.labels
}

// grow returns a slice of n elements, in s where it is large enough.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
