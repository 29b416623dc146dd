package infer

import (
	"context"
	"runtime"
	"unsafe"

	"github.com/voxloop/voxloop/internal/dropout"
	"github.com/voxloop/voxloop/internal/imaging/transform"
	"github.com/voxloop/voxloop/internal/ort"
)

// dropping feeds masks to the passes with dropout of one image. A mask is a
// function of (seed, pass, first window of the batch, node). Where the network
// leaves cores idle (a GPU, fewer threads), those of the next batch are made
// while it runs on the present one; on all cores that would only make its
// threads wait for each other.
type dropping struct {
	layers []dropout.Layer
	seed   uint64
	sample int  // number of the pass
	more   bool // another pass follows
	ahead  bool // masks are made while the network runs
	sets   [2]maskSet
	pool   *buffers
}

// maskSet are the masks of one batch, and what runs the network with them.
type maskSet struct {
	memory  [][]float32 // of the pool
	masks   [][]uint8
	run     runner
	holds   uint64 // key of the batch
	holding bool
}

// newDropping makes room for the masks of windows of the given size.
func newDropping(layers []dropout.Layer, seed uint64, s *network) *dropping {
	d := &dropping{layers: layers, seed: seed, pool: s.pool}
	d.ahead = s.session.Device() == ort.CUDA || s.session.Threads() < runtime.GOMAXPROCS(0)
	for i := range d.sets[:d.used()] {
		for _, l := range layers {
			m := d.pool.get((l.Len() + 3) / 4)
			d.sets[i].memory = append(d.sets[i].memory, m)
			d.sets[i].masks = append(d.sets[i].masks, unsafe.Slice((*uint8)(unsafe.Pointer(unsafe.SliceData(m))), l.Len())) //nolint:gosec // four bytes per value
		}
	}
	return d
}

// used is the number of sets: one, or two in turns.
func (d *dropping) used() int {
	if d.ahead {
		return 2
	}
	return 1
}

func (d *dropping) release() {
	for i := range d.sets {
		for _, m := range d.sets[i].memory {
			d.pool.put(m)
		}
		d.sets[i] = maskSet{}
	}
}

// begin ties the masks to the buffers of a pass.
func (d *dropping) begin(ps *pass, sample int, more bool) {
	d.sample, d.more = sample, more
	for i := range d.sets[:d.used()] {
		var in []ort.Tensor
		for k, l := range d.layers {
			in = append(in, ort.Tensor{Shape: l.Shape, Bytes: d.sets[i].masks[k]})
		}
		d.sets[i].run = ps.free(ps.w.size, in)
	}
	ps.drop = d
}

// maskKey numbers the batches of all passes.
func maskKey(sample, first int) uint64 { return uint64(sample)<<32 | uint64(first) } //nolint:gosec // both count from 0

// run runs the network on the batch that begins with window first; next is the
// first window of the batch behind it, 0 when the pass ends.
func (d *dropping) run(ctx context.Context, c *task, first, next int) error {
	key := maskKey(d.sample, first)
	now, other := &d.sets[0], &d.sets[1]
	if other.holding && other.holds == key {
		now, other = other, now
	}
	if !now.holding || now.holds != key {
		_ = c.timed("masks", func() (int64, error) { now.fill(ctx, d, key); return 0, nil })
	}
	start := func() error { return c.timed("network", func() (int64, error) { return 0, now.run.Run(ctx) }) }
	if !d.ahead || next == 0 && !d.more {
		return start()
	}
	following := maskKey(d.sample, next)
	if next == 0 {
		following = maskKey(d.sample+1, 0)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		other.fill(ctx, d, following)
	}()
	err := start()
	<-done
	return err
}

// maskGrain is the number of values that are drawn in one go.
const maskGrain = 1 << 14

// fill draws the masks of a batch; those of a context that has ended are of no
// use.
func (s *maskSet) fill(ctx context.Context, d *dropping, key uint64) {
	s.holding = false
	for i, l := range d.layers {
		mask, k := s.masks[i], dropout.Key{Seed: d.seed, Pass: key, Node: l.Node}
		parts := (len(mask) + maskGrain - 1) / maskGrain
		err := transform.Parallel(ctx, parts, func(_ context.Context, from, to int) error {
			from, to = from*maskGrain, min(to*maskGrain, len(mask))
			dropout.Fill(mask[from:to], from, k, l.Ratio)
			return nil
		})
		if err != nil {
			return
		}
	}
	s.holds, s.holding = key, true
}
