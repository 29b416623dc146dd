package strategies

import (
	"math"

	"github.com/voxloop/voxloop/internal/ordered"
)

// Part is one number that a pick follows from.
type Part struct {
	Name  string
	Value float64
}

// Explanation says why an image was picked.
type Explanation struct {
	Strategy string
	Why      string  // a sentence for a person
	Score    float64 // what the strategy ranks by; NaN: it has none
	Rank, Of int     // place (from 1) among the images that were compared; 0: no ranking
	Parts    []Part  // what the score is made of
	Class    int     // the class that the image was picked for; 0: none

	Control   bool     // drawn at random, to compare the strategy with
	ColdStart bool     // chosen for diversity instead: too few labels or scores
	Again     bool     // the client holds it already: no other image is left
	Flags     []string // what speaks against the image

	Model, Version string   // whose scores; empty: none
	InService      string   // the version in service, where the scores are of another: they are stale
	LabelsSince    int      // labels saved since the image was scored
	FellBack       bool     // no foreground was predicted: the score is of the most uncertain voxels
	Regions        []Region // where to look
}

// Map returns what clients see, in order and without what does not apply.
func (e *Explanation) Map() *ordered.Map {
	m := ordered.Of("strategy", e.Strategy, "why", e.Why)
	if !math.IsNaN(e.Score) && !math.IsInf(e.Score, 0) {
		m.Set("score", e.Score)
	}
	if e.Rank > 0 {
		m.Set("rank", e.Rank).Set("of", e.Of)
	}
	parts := &ordered.Map{}
	for _, p := range e.Parts {
		if !math.IsNaN(p.Value) && !math.IsInf(p.Value, 0) {
			parts.Set(p.Name, p.Value)
		}
	}
	if parts.Len() > 0 {
		m.Set("parts", parts)
	}
	if e.Class > 0 {
		m.Set("class", e.Class)
	}
	for _, f := range []struct {
		name string
		set  bool
	}{{"control", e.Control}, {"cold_start", e.ColdStart}, {"again", e.Again}, {"fell_back", e.FellBack}} {
		if f.set {
			m.Set(f.name, true)
		}
	}
	if len(e.Flags) > 0 {
		m.Set("flags", e.Flags)
	}
	if e.Model != "" {
		m.Set("model", e.Model).Set("version", e.Version).Set("labels_since", e.LabelsSince)
	}
	if e.InService != "" {
		m.Set("stale", true).Set("in_service", e.InService)
	}
	if len(e.Regions) > 0 {
		m.Set("regions", e.Regions)
	}
	return m
}

// fill takes over what c's look says. The index's lock is held.
func (x *Index) fill(e *Explanation, c *candidate, model string) {
	e.Flags = x.flags(c)
	l := c.look(model)
	if l == nil {
		return
	}
	e.Model, e.Version, e.FellBack, e.Regions = l.model, l.version, l.fellBack, l.regions
	e.LabelsSince = x.saved - l.saved
	if m := x.models[model]; m != nil && !m.current(l) {
		e.InService = m.version
	}
	for i, m := range Measures() {
		known := false
		for _, p := range e.Parts {
			known = known || p.Name == string(m)
		}
		if !known && !math.IsNaN(l.scores[i]) {
			e.Parts = append(e.Parts, Part{string(m), l.scores[i]})
		}
	}
}
