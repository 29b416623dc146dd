package strategies

import (
	"context"
	"maps"
	"math/rand/v2"
	"sync"

	"github.com/voxloop/voxloop/internal/ordered"
)

const randomName = "random"

// Random picks among the unlabelled images, more likely those that it has not
// handed out for long: an image's weight is the seconds since Random last
// served it, or the present Unix time when it never did (MONAI Label's rule).
// When all weights are 0 every image is equally likely.
//
// A pick counts as served at once, so two annotators who ask in the same
// second get different images while there are enough.
type Random struct {
	index *Index
	mu    sync.Mutex // guards rng
	rng   *rand.Rand
}

var (
	_ Strategy = (*Random)(nil)
	_ Strategy = First{}
	_ Strategy = Last{}
)

// NewRandom returns the random strategy over x. A nil source means a source
// seeded by the system.
func NewRandom(x *Index, source rand.Source) *Random {
	if source == nil {
		source = rand.NewPCG(rand.Uint64(), rand.Uint64()) //nolint:gosec // which image comes next is no secret
	}
	x.track(randomName)
	return &Random{index: x, rng: rand.New(source)} //nolint:gosec // as above
}

// Name returns "random".
func (*Random) Name() string { return randomName }

// Description returns the text that clients show, as MONAI Label words it.
func (*Random) Description() string { return "Random Strategy" }

// Next returns a random unlabelled image; Extra has its "weight".
func (r *Random) Next(ctx context.Context, req Request) (Pick, error) {
	if err := ctx.Err(); err != nil {
		return Pick{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	id, weight, ok := r.index.pickWeighted(randomName, req.unix(), r.rng)
	if !ok {
		return Pick{}, ErrNone
	}
	return Pick{ID: id, Extra: ordered.Of("weight", weight)}, nil
}

// pickWeighted picks an open image by the weights of a strategy and notes that
// it was served now. A clock that went back counts as the latest time seen, so
// no weight is negative.
func (x *Index) pickWeighted(name string, now int64, rng *rand.Rand) (id string, weight int64, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	w := x.weights[name]
	if w.total == 0 {
		return "", 0, false
	}
	now = max(now, w.latest)
	var slot int
	if total := w.totalAt(now); total > 0 {
		slot = w.findWeight(rng.Int64N(total), now)
	} else {
		slot = w.findCount(rng.Int64N(w.total))
	}
	c := x.slots[slot]
	weight = now - c.served[name]
	served := maps.Clone(c.served)
	if served == nil {
		served = make(map[string]int64, 1)
	}
	served[name] = now
	x.setServed(c, served)
	return c.id, weight, true
}

// First picks the unlabelled image whose id comes first in byte order.
type First struct{ index *Index }

// Name returns "first".
func (First) Name() string { return "first" }

// Description returns the text that clients show, as MONAI Label words it.
func (First) Description() string { return "Get First Sample" }

// Next returns the first unlabelled image.
func (f First) Next(ctx context.Context, _ Request) (Pick, error) {
	return pickEnd(ctx, f.index.smallest)
}

// Last picks the unlabelled image whose id comes last in byte order.
type Last struct{ index *Index }

// Name returns "last".
func (Last) Name() string { return "last" }

// Description returns the text that clients show, as MONAI Label words it.
func (Last) Description() string { return "Get Last Sample" }

// Next returns the last unlabelled image.
func (l Last) Next(ctx context.Context, _ Request) (Pick, error) {
	return pickEnd(ctx, l.index.largest)
}

func pickEnd(ctx context.Context, end func() (string, bool)) (Pick, error) {
	if err := ctx.Err(); err != nil {
		return Pick{}, err
	}
	id, ok := end()
	if !ok {
		return Pick{}, ErrNone
	}
	return Pick{ID: id}, nil
}
