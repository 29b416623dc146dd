package strategies

import (
	"fmt"
	"math"
	"slices"
)

// snapshotOf returns a pool of the first n images of a ranking. The lock is
// held.
func (x *Index) snapshotOf(model string, t *tree, n int) *pool {
	m := x.model(model)
	x.plans++
	p := &pool{model: &modelInfo{m.name, m.version, m.round}, prints: x.prints, number: x.plans}
	for k := range t.all {
		if len(p.members) == n {
			break
		}
		p.members = append(p.members, k.c.member(model))
	}
	return p
}

// chooseSpread chooses n of a shortlist, which the members are in the order of
// their ranks, so that they differ: the first, then always the one farthest
// from those chosen; or by classes. of is the length of the whole ranking.
func (s Spec) chooseSpread(p *pool, n, of int) []choice {
	var order []int
	var why string
	pts, ok := p.points(p.everyone(), n, len(p.members), s.Seed)
	switch {
	case s.Diversity == ByFeatures && ok && len(pts.at) >= n:
		chosen, _ := kCentre(pts.of, nil, n, 0)
		for _, i := range chosen {
			order = append(order, pts.at[i])
		}
		why = "differs by " + pts.what + " from the others of the batch"
	default:
		order, why = s.byClasses(p), "from another class than the others of the batch where possible"
	}
	out := make([]choice, 0, n)
	for _, i := range order[:min(n, len(order))] {
		score, _ := p.members[i].look.score(s.Measure)
		c := p.choice(i, score, fmt.Sprintf("among the %d with the highest %s; %s", len(p.members), s.Measure, why))
		c.rank, c.of, c.parts = i+1, of, []Part{{string(s.Measure), score}}
		out = append(out, c)
	}
	return out
}

// byClasses orders a shortlist so that the classes which images are least sure
// of take turns, in the order in which they first occur.
func (s Spec) byClasses(p *pool) []int {
	var classes []int
	lists := make(map[int][]int)
	for i, m := range p.members {
		c, most := 0, math.Inf(-1)
		for _, k := range m.look.classes {
			if k.Score > most {
				c, most = k.Class, k.Score
			}
		}
		if !slices.Contains(classes, c) {
			classes = append(classes, c)
		}
		lists[c] = append(lists[c], i)
	}
	var out []int
	for len(out) < len(p.members) {
		for _, c := range classes {
			if l := lists[c]; len(l) > 0 {
				out, lists[c] = append(out, l[0]), l[1:]
			}
		}
	}
	return out
}
