package strategies

import (
	"math"
	"slices"
)

// look is an observation as the index keeps it. It is not changed once it is
// made, so it may be read without the index's lock.
type look struct {
	model, version string
	passes         Passes
	scores         []float64 // by place in Measures; NaN: unknown
	classes        []ClassScore
	features       []float32
	regions        []Region
	foreground     float64 // share of the voxels
	predicted      float64 // mm³
	uncertain      float64 // mm³
	fellBack       bool
	corrupt        string
	saved          int   // Index.saved when it was put
	time           int64 // Unix seconds
	comparable     bool  // its scores may be ranked with others'; or it is corrupt, and needs no second look
}

func newLook(ob *Observation, o Options, saved int) *look {
	l := &look{
		model: ob.Model, version: ob.Version, passes: ob.Passes, scores: make([]float64, len(Measures())),
		classes: ob.Classes, features: ob.Features, regions: ob.Regions, foreground: ob.Foreground,
		predicted: ob.Predicted, uncertain: ob.Uncertain, fellBack: ob.FellBack, corrupt: ob.Corrupt, saved: saved, time: ob.Time,
	}
	l.comparable = ob.Corrupt != "" || (o.Passes == "" || o.Passes == ob.Passes) && (o.Aggregation == "" || o.Aggregation == ob.Aggregation)
	if !finite(l.features) {
		l.features = nil
	}
	for i, m := range Measures() {
		l.scores[i] = math.NaN()
		if v, ok := ob.Scores[m]; ok && l.comparable && !math.IsInf(v, 0) {
			l.scores[i] = v
		}
	}
	return l
}

// score returns one measure; ok is false where the look does not have it.
func (l *look) score(m Measure) (v float64, ok bool) {
	if l == nil {
		return 0, false
	}
	if v = l.scores[measureIndex(m)]; math.IsNaN(v) {
		return 0, false
	}
	return v, true
}

// look returns what a model has shown of c, or nil.
func (c *candidate) look(model string) *look {
	for _, l := range c.looks {
		if l.model == model {
			return l
		}
	}
	return nil
}

// order is a ranking that strategies ask for: by one measure, of observations
// with certain passes ("": any).
type order struct {
	measure Measure
	passes  Passes
}

func (o order) key(c *candidate, model string) (key, bool) {
	l := c.look(model)
	s, ok := l.score(o.measure)
	if !ok || o.passes != "" && o.passes != l.passes {
		return key{}, false
	}
	return key{score: s, c: c}, true
}

// modelState is what the index keeps of one model.
type modelState struct {
	name    string
	version string // in service; "": unknown, then no score is stale
	round   int    // trainings so far

	orders map[order]*tree // the images in the pool

	// Open images, held and flagged ones included. An image with a look of the
	// version in service may lie in stale until it comes to the top.
	unscored     tree // by hash: any first part of it is a random sample
	fresh, stale tree // by entropy
}

// model returns the state of a model, new when it is not known.
func (x *Index) model(name string) *modelState {
	m := x.models[name]
	if m != nil {
		return m
	}
	m = &modelState{name: name, orders: make(map[order]*tree)}
	for _, o := range x.orders {
		m.orders[o] = &tree{}
	}
	for _, c := range x.slots {
		if c != nil && c.open {
			m.setOpen(c, true)
		}
	}
	x.models[name] = m
	if x.main == "" {
		x.main = name
	}
	return m
}

// keep makes the index keep a ranking of every model.
func (x *Index) keep(o order) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if slices.Contains(x.orders, o) {
		return
	}
	x.orders = append(x.orders, o)
	for _, m := range x.models {
		t := &tree{}
		for _, c := range x.pool {
			if k, ok := o.key(c, m.name); ok {
				t.insert(k)
			}
		}
		m.orders[o] = t
	}
}

// rank puts c into the model's rankings.
func (m *modelState) rank(c *candidate) {
	for o, t := range m.orders {
		if k, ok := o.key(c, m.name); ok {
			t.insert(k)
		}
	}
}

// unrank takes c out of the model's rankings.
func (m *modelState) unrank(c *candidate) {
	for o, t := range m.orders {
		if k, ok := o.key(c, m.name); ok {
			t.remove(k)
		}
	}
}

// setOpen puts c among what is to be scored, or takes it out.
func (m *modelState) setOpen(c *candidate, open bool) {
	l := c.look(m.name)
	switch {
	case l == nil || !l.comparable:
		if open {
			m.unscored.insert(c.hashKey())
		} else {
			m.unscored.remove(c.hashKey())
		}
	case !open:
		if !m.fresh.remove(m.scoreKey(c)) {
			m.stale.remove(m.scoreKey(c))
		}
	case m.current(l):
		m.fresh.insert(m.scoreKey(c))
	default:
		m.stale.insert(m.scoreKey(c))
	}
}

// current tells whether a look is of the version in service.
func (m *modelState) current(l *look) bool { return m.version == "" || l.version == m.version }

// hashKey orders by another hash than the tree's priorities are: with the same
// one the tree would be a list.
func (c *candidate) hashKey() key { return key{score: uniform(mix(c.hash ^ 0x9e3779b97f4a7c15)), c: c} }

func (m *modelState) scoreKey(c *candidate) key {
	v, _ := c.look(m.name).score(Entropy)
	return key{score: v, c: c}
}

// serve notes which version is in service.
func (m *modelState) serve(version string, round int) {
	m.round = round
	if version == m.version {
		return
	}
	m.version = version
	m.stale.root = union(m.stale.root, m.fresh.root) // all is stale now
	m.fresh = tree{}
}
