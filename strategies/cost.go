package strategies

import "fmt"

// chooseByCost is KindCost: the largest score per predicted second of
// annotation. While too few times are recorded it chooses by score and says
// so.
//
// Source of the criterion: Settles, Craven and Friedland, Active Learning with
// Real Annotation Costs (NeurIPS workshop, 2008).
func (s Spec) chooseByCost(p *pool, n int) []choice {
	effort, ok := FitEffort(p.efforts, s.LeastTimes)
	if !ok {
		return s.best(p, n, fmt.Sprintf("by %s alone: %d annotation times are recorded, %d are needed to predict effort",
			s.Measure, len(p.efforts), s.LeastTimes))
	}
	at, scores := p.scored(s.order())
	seconds := make([]float64, len(at))
	for i, m := range at {
		l := p.members[m].look
		seconds[i] = effort.Seconds(EffortSample{Predicted: l.predicted, Uncertain: l.uncertain})
	}
	var out []choice
	for r, i := range largest(len(at), n, func(i int) float64 { return scores[i] / seconds[i] }) {
		c := p.choice(at[i], scores[i]/seconds[i], fmt.Sprintf("most %s per second: about %.0f s of annotation", s.Measure, seconds[i]))
		c.rank, c.of = r+1, len(at)
		c.parts = []Part{{string(s.Measure), scores[i]}, {"predicted_seconds", seconds[i]}}
		out = append(out, c)
	}
	return out
}

// best chooses by the measure alone.
func (s Spec) best(p *pool, n int, why string) []choice {
	at, scores := p.scored(s.order())
	var out []choice
	for r, i := range largest(len(at), n, func(i int) float64 { return scores[i] }) {
		c := p.choice(at[i], scores[i], why)
		c.rank, c.of = r+1, len(at)
		c.parts = []Part{{string(s.Measure), scores[i]}}
		out = append(out, c)
	}
	return out
}
