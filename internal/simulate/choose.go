package simulate

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/strategies"
)

// model is what the images are looked at with.
const model = "model"

// randomOrder shuffles ids, the same for equal seeds and streams.
func randomOrder(ids []string, seed int, stream string) []string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", seed, stream))
	r := rand.New(rand.NewPCG(binary.LittleEndian.Uint64(sum[:8]), binary.LittleEndian.Uint64(sum[8:16]))) //nolint:gosec // repeatable by intent
	out := slices.Sorted(slices.Values(ids))
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// choice is one round's question to a strategy.
type choice struct {
	o        Options
	strategy string
	seed     int
	round    int // from 1
	labelled []string
	model    string // folder of the model so far
	version  string
}

// offered are the images that may be chosen: unlabelled ones of the pool, the
// same for all strategies where they have them unlabelled.
func (c choice) offered() []string {
	done := map[string]bool{}
	for _, id := range c.labelled {
		done[id] = true
	}
	left := slices.DeleteFunc(randomOrder(c.o.PoolIDs, c.seed, fmt.Sprint("pool ", c.round)), func(id string) bool { return done[id] })
	if c.o.Look > 0 {
		left = left[:min(c.o.Look, len(left))]
	}
	return left
}

// make asks the strategy for the round's images. scored is how many images were
// looked at.
func (c choice) make(ctx context.Context, e Engine) (picks []Pick, scored int, err error) {
	offered := c.offered()
	if c.strategy == Random {
		// Plain draws: the server's random strategy looks at when images were last
		// handed out, which is never here.
		for _, id := range randomOrder(offered, c.seed, fmt.Sprint("random ", c.round))[:c.o.Query] {
			picks = append(picks, Pick{ID: id})
		}
		return picks, 0, nil
	}
	spec, err := SpecOf(c.strategy, uint64(c.seed)<<16|uint64(c.round)) //nolint:gosec // not negative
	if err != nil {
		return nil, 0, err
	}
	x := strategies.Open(strategies.Options{ColdStart: -1, Seed: spec.Seed})
	for _, id := range c.labelled {
		x.Handle(strategies.Event{ID: id, Labelled: true})
	}
	for _, id := range offered {
		x.Handle(strategies.Event{ID: id})
	}
	x.UseModel(model)
	x.Serve(model, c.version, c.round-1)
	s, err := strategies.New(x, spec)
	if err != nil {
		return nil, 0, err
	}
	needs := spec.Needs()
	ids := offered
	if needs.Features {
		ids = slices.Concat(offered, c.labelled)
	}
	err = e.Look(ctx, Looking{
		Model: c.model, Name: model, Version: c.version, IDs: ids, Passes: PassesOf(spec), Features: true, Seed: spec.Seed,
	}, func(ob *strategies.Observation) error {
		scored++
		return x.Put(ob)
	})
	if err != nil {
		return nil, scored, err
	}
	chosen, err := strategies.Batch(ctx, s, strategies.Request{Client: "oracle"}, c.o.Query)
	if err != nil && !errors.Is(err, strategies.ErrNone) {
		return nil, scored, err
	}
	if len(chosen) != c.o.Query {
		return nil, scored, fault.New(fault.Internal, "strategy %s chose %d images instead of %d", c.strategy, len(chosen), c.o.Query)
	}
	for _, p := range chosen {
		pick := Pick{ID: p.ID}
		if p.Explanation != nil {
			pick.Why = p.Explanation.Why
		}
		picks = append(picks, pick)
	}
	slices.SortFunc(picks, func(a, b Pick) int { return cmp.Compare(a.ID, b.ID) })
	return picks, scored, nil
}
