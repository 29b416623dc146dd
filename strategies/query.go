package strategies

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/voxloop/voxloop/internal/ordered"
)

// New returns the strategy that a Spec describes, over x. An Invalid fault says
// what is wrong with the Spec.
//
// The strategy is also a Batcher. Beside what its kind says,
//
//   - a share of the picks is drawn at random (Options.Control) and says so;
//   - with too few labels or without scores, diversity chooses;
//   - corrupt and far-off images come last, after those without scores;
//   - leases apply (see Strategy).
//
// Kinds that rank by one measure take O(log n) time for a pick. The others
// choose several images at once (Spec.Batch, more in a large pool) in time
// proportional to the pool and hand them out one after the other; Prepare does
// the choosing ahead.
func New(x *Index, s Spec) (Strategy, error) {
	s = s.withDefaults()
	if err := s.validate(); err != nil {
		return nil, err
	}
	if s.scored() {
		x.keep(s.order())
	}
	return &query{x: x, spec: s, rng: rand.New(rand.NewPCG(s.Seed, hashOf(s.Name)))}, nil //nolint:gosec // which image comes next is no secret
}

// Prepare chooses ahead for strategies that choose several images at once, so
// that the next requests need not wait. It does nothing for those not asked
// since the last call. Call it in the background, after labels were saved or
// scores came in.
func Prepare(ctx context.Context, all []Strategy) {
	for _, s := range all {
		if q, ok := s.(*query); ok && ctx.Err() == nil {
			q.prepare()
		}
	}
}

// query is a strategy made by New.
type query struct {
	x    *Index
	spec Spec

	mu   sync.Mutex // guards what follows; taken before the index's lock
	rng  *rand.Rand // control picks
	plan *plan      // by the spec
	cold *plan      // for diversity
	used bool       // asked since the last prepare
}

var (
	_ Strategy   = (*query)(nil)
	_ Batcher    = (*query)(nil)
	_ Configured = (*query)(nil)
)

// Name returns what clients call the strategy.
func (q *query) Name() string { return q.spec.Name }

// Description returns the text that clients show.
func (q *query) Description() string { return q.spec.describe() }

// Parameters returns what the strategy was made with.
func (q *query) Parameters() *ordered.Map { return q.spec.Parameters() }

// Next returns the next image; Extra has the explanation.
func (q *query) Next(ctx context.Context, req Request) (Pick, error) {
	picks, err := q.take(ctx, req, 1)
	if err != nil {
		return Pick{}, err
	}
	return picks[0], nil
}

// Batch returns up to n images that differ.
func (q *query) Batch(ctx context.Context, req Request, n int) ([]Pick, error) {
	if n < 1 {
		return nil, nil
	}
	return q.take(ctx, req, min(n, max(q.x.Len(), 1)))
}

// source is where the picks that are not drawn at random come from.
type source struct {
	choices []choice
	tree    *tree  // a ranking; nil: choices only
	reason  string // why it is not the strategy's own; empty: it is
}

// take picks n images.
func (q *query) take(ctx context.Context, req Request, n int) ([]Pick, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.used = true
	control := make([]bool, n)
	own := 0
	for i := range control {
		control[i] = q.x.opts.Control > 0 && q.rng.Float64() < q.x.opts.Control
		if !control[i] {
			own++
		}
	}
	now := req.clock()
	q.x.mu.Lock()
	q.x.expire(now)
	src := q.source(own) // unlocks meanwhile where it has to choose
	defer q.x.mu.Unlock()
	var picks []Pick
	taken := make(map[*candidate]bool, n)
	for i := range n {
		c, e := q.pick(&src, control[i], taken)
		if c == nil && len(picks) == 0 {
			if c = q.x.own(req.Client); c != nil {
				e = &Explanation{Again: true, Score: noScore, Why: "no other image is left: this is the one that you have held longest"}
			}
		}
		if c == nil {
			break
		}
		taken[c] = true
		e.Strategy = q.spec.Name
		q.x.fill(e, c, q.model())
		extra := q.extra(e, c, now.Unix())
		q.x.lend(c, req.Client, now)
		picks = append(picks, Pick{ID: c.id, Explanation: e, Extra: extra})
		if e.Again {
			break
		}
	}
	if len(picks) == 0 {
		return nil, q.x.none()
	}
	return picks, nil
}

// model names the model whose looks count. The index's lock is held.
func (q *query) model() string {
	if q.spec.Model != "" {
		return q.spec.Model
	}
	return q.x.main
}

// extra is what clients see beside the id.
func (q *query) extra(e *Explanation, c *candidate, now int64) *ordered.Map {
	m := &ordered.Map{}
	if q.spec.Kind == KindEpistemic {
		score, _ := c.look(q.model()).score(Entropy)
		m.Set("epistemic_entropy", ordered.Of("score", score, "ts", min(max(now-c.served[q.spec.Name], 0), 24*60*60)))
	}
	return m.Set("explanation", e.Map())
}

// pick returns one image of the source, or at random, or of what is left.
func (q *query) pick(src *source, control bool, taken map[*candidate]bool) (*candidate, *Explanation) {
	x := q.x
	if control {
		if c := q.random(taken); c != nil {
			return c, &Explanation{Control: true, Score: noScore, Why: "drawn at random, to compare the strategy with"}
		}
	}
	for len(src.choices) > 0 {
		ch := src.choices[0]
		src.choices = src.choices[1:]
		c := x.images[ch.id]
		if c == nil || c.place != inPool || taken[c] {
			continue
		}
		why := ch.why
		if src.reason != "" {
			why = src.reason + ": " + ch.why
		}
		return c, &Explanation{
			Score: ch.score, Rank: ch.rank, Of: ch.of, Parts: ch.parts, Class: ch.class, ColdStart: src.reason != "", Why: why,
		}
	}
	if src.tree != nil {
		for i := range src.tree.len() {
			k := src.tree.at(i)
			if taken[k.c] {
				continue
			}
			return k.c, &Explanation{
				Score: k.score, Rank: i + 1, Of: src.tree.len(), Parts: []Part{{string(q.spec.Measure), k.score}},
				Why: "highest " + string(q.spec.Measure),
			}
		}
	}
	if c := q.random(taken); c != nil {
		return c, &Explanation{Score: noScore, Why: "drawn at random: the strategy knows nothing of the images that are free"}
	}
	for k := range x.flagged.all {
		if !taken[k.c] {
			return k.c, &Explanation{Score: noScore, Why: "flagged: no sound image is left"}
		}
	}
	return nil, nil
}

// random returns a sound free image, each with the same chance, or nil. After
// some misses (many are taken already) it looks through all.
func (q *query) random(taken map[*candidate]bool) *candidate {
	pool := q.x.pool
	if len(pool) == 0 {
		return nil
	}
	for range 16 {
		if c := pool[q.rng.IntN(len(pool))]; !taken[c] {
			return c
		}
	}
	from := q.rng.IntN(len(pool))
	for i := range pool {
		if c := pool[(from+i)%len(pool)]; !taken[c] {
			return c
		}
	}
	return nil
}

// coldReason says why scores cannot choose yet; empty: they can. The index's
// lock is held.
func (q *query) coldReason(m *modelState) string {
	x := q.x
	switch {
	case !q.spec.scored():
		return ""
	case m == nil || m.fresh.len()+m.stale.len() == 0:
		return "no model has scored images yet, so diversity chooses"
	case len(x.labels) < x.opts.ColdStart:
		return fmt.Sprintf("%d of the %d labels that scores need, so diversity chooses", len(x.labels), x.opts.ColdStart)
	case m.orders[q.spec.order()].len() == 0:
		return fmt.Sprintf("no free image has a score of %s, so diversity chooses", q.spec.wanted())
	}
	return ""
}
