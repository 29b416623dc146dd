package strategies

// Ranked is an image with its place in a ranking.
type Ranked struct {
	ID      string
	Score   float64
	Version string // of the model that it was scored with
	Stale   bool   // another version is in service
}

// Ranking returns the first n images that are free by one measure of a model,
// the least sure one in front; ok is false when no strategy ranks by it. It
// takes O(n log N) time and hands nothing out.
func (x *Index) Ranking(model string, by Measure, n int) (list []Ranked, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if model == "" {
		model = x.main
	}
	m := x.models[model]
	if m == nil {
		return nil, false
	}
	for o, t := range m.orders {
		if o.measure != by || o.passes != "" && len(list) > 0 {
			continue
		}
		ok, list = true, make([]Ranked, 0, min(n, t.len()))
		for i := range min(n, t.len()) {
			k := t.at(i)
			l := k.c.look(model)
			list = append(list, Ranked{ID: k.c.id, Score: k.score, Version: l.version, Stale: !m.current(l)})
		}
		if o.passes == "" {
			break
		}
	}
	return list, ok
}
