package strategies

import (
	"math"
	"runtime"
	"slices"
)

// mostCentres bounds the labelled images that distances are measured from, the
// last ones, and the held ones.
const mostCentres = 512

// member is an image as a chooser sees it.
type member struct {
	id    string
	hash  uint64
	look  *look     // of the strategy's model; nil: unscored
	print []float32 // fingerprint; may be nil
}

// pool is what a chooser chooses from: a snapshot of the index, which it reads
// without the lock.
type pool struct {
	model   *modelInfo
	members []member // free and sound
	centres []member // labelled or held: what has been chosen before
	prints  fingerprints
	efforts []EffortSample
	number  uint64 // of this plan: noise depends on it
}

type modelInfo struct {
	name, version string
	round         int
}

// choice is a chooser's answer.
type choice struct {
	id       string
	score    float64 // NaN: none
	rank, of int
	parts    []Part
	class    int
	why      string
}

// atOnce is the number of images that a snapshot takes in before it lets others
// have the lock.
const atOnce = 128

// snapshot returns the pool as a model sees it, without what leaves it meanwhile.
// The lock is held before and after; in between it is given up again and again,
// so that requests need not wait for a large pool.
func (x *Index) snapshot(model string) *pool {
	m := x.model(model)
	x.plans++
	p := &pool{
		model: &modelInfo{m.name, m.version, m.round}, members: make([]member, 0, len(x.pool)), prints: x.prints,
		efforts: x.efforts.list(), number: x.plans,
	}
	for i, c := range slices.Clone(x.pool) {
		if i%atOnce == atOnce-1 {
			x.mu.Unlock()
			runtime.Gosched()
			x.mu.Lock()
		}
		if c.place == inPool {
			p.members = append(p.members, c.member(model))
		}
	}
	for _, c := range x.labels[max(0, len(x.labels)-mostCentres):] {
		p.centres = append(p.centres, c.member(model))
	}
	for _, l := range x.leases.byEnd[:min(len(x.leases.byEnd), mostCentres)] {
		p.centres = append(p.centres, l.c.member(model))
	}
	return p
}

func (c *candidate) member(model string) member {
	return member{id: c.id, hash: c.hash, look: c.look(model), print: c.print}
}

// scored returns the members that have a measure, with its values.
func (p *pool) scored(o order) (at []int, scores []float64) {
	for i, m := range p.members {
		if m.look == nil || o.passes != "" && o.passes != m.look.passes {
			continue
		}
		if s, ok := m.look.score(o.measure); ok {
			at, scores = append(at, i), append(scores, s)
		}
	}
	return at, scores
}

// noise returns a standard Gumbel draw for a member that depends on the seed,
// the plan and a stream (a class, say).
func (p *pool) noise(m member, seed, stream uint64) float64 {
	return gumbel(mix(m.hash ^ mix(seed^mix(p.number^mix(stream+1)))))
}

// points are members that distances can be measured between.
type points struct {
	at      []int // of the pool's members
	of      [][]float32
	centres [][]float32
	what    string // "features" or "fingerprints"
}

// points returns those among the members at the given places: by features of
// one version of the model (the one that most have), or where fewer than least
// have any, by fingerprints. ok is false where neither is there. Of more than
// subset, a random part is taken.
func (p *pool) points(among []int, least, subset int, seed uint64) (pts points, ok bool) {
	version := p.commonVersion(among)
	features := func(m member) []float32 {
		if m.look == nil || m.look.version != version {
			return nil
		}
		return m.look.features
	}
	prints := func(m member) []float32 { return p.prints.standard(m.print) }
	least = max(least, 2)
	pts = p.gather(among, features, "features", subset, seed)
	if len(pts.at) >= least {
		return pts, true
	}
	if other := p.gather(among, prints, "fingerprints", subset, seed); len(other.at) > len(pts.at) {
		pts = other
	}
	return pts, len(pts.at) >= 1
}

func (p *pool) gather(among []int, vector func(member) []float32, what string, subset int, seed uint64) points {
	if len(among) > subset {
		among = p.sample(among, subset, seed)
	}
	pts := points{what: what}
	dims := 0
	for _, i := range among {
		v := vector(p.members[i])
		if len(v) == 0 || dims > 0 && len(v) != dims {
			continue
		}
		dims = len(v)
		pts.at, pts.of = append(pts.at, i), append(pts.of, v)
	}
	for _, c := range p.centres {
		if v := vector(c); len(v) > 0 && len(v) == dims {
			pts.centres = append(pts.centres, v)
		}
	}
	return pts
}

// sample returns n of the members at the given places, at random, in their
// order.
func (p *pool) sample(among []int, n int, seed uint64) []int {
	keep := largest(len(among), n, func(i int) float64 { return p.noise(p.members[among[i]], seed, streamSample) })
	slices.Sort(keep)
	for i, k := range keep {
		keep[i] = among[k]
	}
	return keep
}

// Streams of noise that are no class.
const (
	streamOverall = 1 << 32
	streamSample  = 2 << 32
)

// commonVersion is the version that most looks with features are of; among
// equals the one in service, else the first in byte order.
func (p *pool) commonVersion(among []int) string {
	counts := make(map[string]int)
	for _, i := range among {
		if l := p.members[i].look; l != nil && len(l.features) > 0 {
			counts[l.version]++
		}
	}
	best, most := "", 0
	for v, n := range counts {
		if n > most || n == most && best != p.model.version && (v == p.model.version || v < best) {
			best, most = v, n
		}
	}
	return best
}

func (p *pool) everyone() []int {
	all := make([]int, len(p.members))
	for i := range all {
		all[i] = i
	}
	return all
}

// choice starts the answer for a member.
func (p *pool) choice(at int, score float64, why string) choice {
	return choice{id: p.members[at].id, score: score, why: why}
}

var noScore = math.NaN()
