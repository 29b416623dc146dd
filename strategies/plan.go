package strategies

import "fmt"

// plan is what was chosen ahead.
type plan struct {
	choices []choice
	stamp   stamp
}

// stamp is what a plan depends on: when it changes, one chooses anew.
type stamp struct {
	model, version string
	round          int
	pool           int // sizes when it was made
	looks          int
}

// holds tells whether a plan made at s is good at now: same model, version and
// round, and the pool and its looks have not grown by more than a tenth.
func (s stamp) holds(now stamp) bool {
	return s.model == now.model && s.version == now.version && s.round == now.round &&
		now.pool <= s.pool+s.pool/10+8 && now.looks <= s.looks+s.looks/10+8
}

// stampNow describes the present. The index's lock is held.
func (q *query) stampNow() stamp {
	s := stamp{model: q.model(), pool: len(q.x.pool)}
	if m := q.x.models[s.model]; m != nil {
		s.version, s.round, s.looks = m.version, m.round, m.fresh.len()+m.stale.len()
	}
	return s
}

// usable returns how many choices can be handed out. The index's lock is held.
func (q *query) usable(p *plan) int {
	if p == nil || !p.stamp.holds(q.stampNow()) {
		return 0
	}
	n := 0
	for _, ch := range p.choices {
		if c := q.x.images[ch.id]; c != nil && c.place == inPool {
			n++
		}
	}
	return n
}

// ahead is how many images are chosen together when they are asked for one by
// one: more in a large pool, where choosing takes longer.
func (q *query) ahead() int { return max(q.spec.Batch, min(256, len(q.x.pool)/400)) }

// source returns where n picks come from. The index's lock is held; it is
// given up while choosing.
func (q *query) source(n int) source {
	model := q.model()
	m := q.x.models[model]
	reason := q.coldReason(m)
	if reason == "" && q.spec.direct() {
		t := m.orders[q.spec.order()]
		if n <= 1 || q.spec.Diversity == Undiverse {
			return source{tree: t}
		}
		return source{tree: t, choices: q.spread(t, n)}
	}
	at, choose := q.current(reason)
	if n > 1 {
		return source{choices: q.chosen(choose, n).choices, reason: reason}
	}
	if q.usable(*at) == 0 && len(q.x.pool) > 0 {
		*at = q.chosen(choose, q.ahead())
	}
	if *at == nil {
		return source{}
	}
	return source{choices: (*at).choices, reason: reason}
}

// chosen chooses n images of a snapshot. The index's lock is held before and
// after, not meanwhile.
func (q *query) chosen(choose func(*pool, int) []choice, n int) *plan {
	now := q.stampNow()
	p := q.x.snapshot(q.model())
	q.x.mu.Unlock()
	defer q.x.mu.Lock()
	return &plan{choices: choose(p, n), stamp: now}
}

// spread chooses n differing images among the best of a ranking. As chosen, it
// gives up the lock meanwhile.
func (q *query) spread(t *tree, n int) []choice {
	size := min(n*q.spec.Shortlist, t.len())
	p := q.x.snapshotOf(q.model(), t, size)
	of := t.len()
	q.x.mu.Unlock()
	defer q.x.mu.Lock()
	return q.spec.chooseSpread(p, n, of)
}

// prepare makes plans that are half used up, in the background. Requests do
// not wait for the choosing.
func (q *query) prepare() {
	p, now, choose, at, n := q.due()
	if p == nil {
		return
	}
	made := &plan{choices: choose(p, n), stamp: now}
	q.mu.Lock()
	defer q.mu.Unlock()
	*at = made
}

// due returns what prepare has to choose from; nil: nothing. Requests get both
// locks while it is gathered.
func (q *query) due() (p *pool, now stamp, choose func(*pool, int) []choice, at **plan, n int) {
	q.mu.Lock()
	q.x.mu.Lock()
	defer q.x.mu.Unlock()
	used := q.used
	q.used = false
	reason := q.coldReason(q.x.models[q.model()])
	wanted := used && (reason != "" || !q.spec.direct())
	if wanted {
		at, choose = q.current(reason)
		n = q.ahead()
		wanted = 2*q.usable(*at) < n
	}
	q.mu.Unlock()
	if !wanted {
		return nil, stamp{}, nil, nil, 0
	}
	now = q.stampNow()
	return q.x.snapshot(q.model()), now, choose, at, n
}

// current returns the plan in use and who makes it.
func (q *query) current(reason string) (at **plan, choose func(*pool, int) []choice) {
	if reason != "" {
		return &q.cold, q.spec.chooseDiverse
	}
	return &q.plan, q.spec.choose
}

// scored tells whether the kind needs scores.
func (s Spec) scored() bool { return s.Kind != KindForeground && s.Kind != KindCoreset }

// direct tells whether a pick is the top of a ranking.
func (s Spec) direct() bool {
	switch s.Kind {
	case KindEntropy, KindBALD, KindTTA, KindVariance, KindMargin, KindEpistemic:
		return true
	default:
		return false
	}
}

// order is the ranking that the kind looks at.
func (s Spec) order() order {
	o := order{measure: s.Measure}
	switch s.Kind {
	case KindTTA:
		o.passes = Augmented
	case KindWeighted:
		for _, w := range s.Weights {
			if w.Of != componentDiversity && w.Weight > 0 {
				o.measure = Measure(w.Of)
				break
			}
		}
	default:
	}
	return o
}

// wanted names the scores that the kind needs.
func (s Spec) wanted() string {
	if p := s.Needs().Passes; len(p) > 0 {
		return fmt.Sprintf("%s (of passes %v)", s.order().measure, p)
	}
	return string(s.order().measure)
}

// choose is the kind's own way.
func (s Spec) choose(p *pool, n int) []choice {
	switch s.Kind {
	case KindForeground:
		return s.chooseForeground(p, n)
	case KindPower:
		return s.chooseNoisy(p, n)
	case KindClasp:
		return s.chooseClasp(p, n)
	case KindKMeans:
		return s.chooseKMeans(p, n)
	case KindWeighted:
		return s.chooseWeighted(p, n)
	case KindCost:
		return s.chooseByCost(p, n)
	case KindCoreset:
		return s.chooseDiverse(p, n)
	default:
		return s.best(p, n, "highest "+string(s.Measure))
	}
}
