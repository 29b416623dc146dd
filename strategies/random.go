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
// Flagged images come after all others.
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
	x := r.index
	x.mu.Lock()
	defer x.mu.Unlock()
	now := req.clock()
	x.expire(now)
	c, weight, ok := x.pickWeighted(randomName, req.unix(), r.rng)
	if !ok {
		if c = x.last(req.Client); c == nil {
			return Pick{}, x.none()
		}
		weight = max(0, req.unix()-c.served[randomName])
	}
	x.lend(c, req.Client, now)
	return Pick{ID: c.id, Extra: ordered.Of("weight", weight)}, nil
}

// last returns what a client gets when no sound image is free: a flagged one,
// else the one that it has held longest; or nil.
func (x *Index) last(client string) *candidate {
	if x.flagged.len() > 0 {
		return x.flagged.at(0).c
	}
	return x.own(client)
}

// none is the error of a request for which no image is left.
func (x *Index) none() error {
	if x.open > 0 && len(x.leases.byEnd) > 0 {
		return &HeldError{Until: x.leases.byEnd[0].until}
	}
	return ErrNone
}

// pickWeighted picks a free image by the weights of a strategy and notes that
// it was served now. A clock that went back counts as the latest time seen, so
// no weight is negative.
func (x *Index) pickWeighted(name string, now int64, rng *rand.Rand) (c *candidate, weight int64, ok bool) {
	w := x.weights[name]
	if w.total == 0 {
		return nil, 0, false
	}
	now = max(now, w.latest)
	var slot int
	if total := w.totalAt(now); total > 0 {
		slot = w.findWeight(rng.Int64N(total), now)
	} else {
		slot = w.findCount(rng.Int64N(w.total))
	}
	c = x.slots[slot]
	weight = now - c.served[name]
	served := maps.Clone(c.served)
	if served == nil {
		served = make(map[string]int64, 1)
	}
	served[name] = now
	x.setServed(c, served)
	return c, weight, true
}
