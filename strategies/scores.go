package strategies

import (
	"github.com/voxloop/voxloop/internal/fault"
)

// Put takes in an observation, in place of the model's last one of the image.
// It returns a NotFound fault when the image is not in the index (any more).
// The observation must not be changed afterwards.
func (x *Index) Put(ob *Observation) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.images[ob.Image]
	if c == nil {
		return fault.New(fault.NotFound, "the observed image is not in the index")
	}
	// What c is ranked by changes: it leaves its lists and enters them again.
	x.leave(c)
	if ob.Model == "" {
		c.corrupt = ob.Corrupt
	} else {
		x.putLook(c, newLook(ob, x.opts, x.saved))
	}
	refit := x.prints.put(c, ob.Fingerprint)
	x.settle(c)
	if refit {
		x.refit()
	}
	return nil
}

func (x *Index) putLook(c *candidate, l *look) {
	m := x.model(l.model)
	if c.open {
		m.setOpen(c, false)
	}
	replaced := false
	for i := range c.looks {
		if c.looks[i].model == l.model {
			c.looks[i], replaced = l, true
		}
	}
	if !replaced {
		c.looks = append(c.looks, l)
	}
	if c.open {
		m.setOpen(c, true)
	}
}

// Serve notes which version of a model is in service and how many trainings it
// has behind it (the round: some strategies explore less as it rises). Scores
// of other versions are stale from then on: they are used until new ones come,
// and picks say so. The first model named is that of strategies that name none;
// UseModel names another.
func (x *Index) Serve(model, version string, round int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.model(model).serve(version, round)
}

// UseModel names the model of strategies that name none themselves.
func (x *Index) UseModel(model string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.model(model)
	x.main = model
}

// Wanted is an image that a model should look at.
type Wanted struct {
	ID       string
	Stale    string // the version its scores are of; empty: there are none
	Labelled bool   // wanted for its features only; see Options.ScoreLabelled
}

// Wanted returns up to n images in the order in which a model should look at
// them: in turn one without scores (in random order, so that those already
// scored are a fair sample) and the one with stale scores that ranks highest
// (it would be handed out next), and a labelled one where those are wanted.
// Images that are neither labelled nor to be handed out are left out. It takes
// O(n log N) time.
func (x *Index) Wanted(model string, n int) []Wanted {
	x.mu.Lock()
	defer x.mu.Unlock()
	m := x.model(model)
	labelled := x.wantedLabelled(m)
	var out []Wanted
	for u, s := 0, 0; len(out) < n; {
		more := false
		if len(labelled) > 0 {
			out, more = append(out, labelled[0]), true
			labelled = labelled[1:]
		}
		if len(out) == n {
			break
		}
		if u < m.unscored.len() {
			out, more = append(out, Wanted{ID: m.unscored.at(u).c.id}), true
			u++
		}
		for s < m.stale.len() && m.current(m.stale.at(s).c.look(model)) {
			k := m.stale.at(s) // its version came back into service
			m.stale.remove(k)
			m.fresh.insert(k)
		}
		if len(out) < n && s < m.stale.len() {
			c := m.stale.at(s).c
			out, more = append(out, Wanted{ID: c.id, Stale: c.look(model).version}), true
			s++
		}
		if !more {
			break
		}
	}
	return out
}

// wantedLabelled lists labelled images without features of the version in
// service, of those that distances are measured from.
func (x *Index) wantedLabelled(m *modelState) (out []Wanted) {
	if !x.opts.ScoreLabelled {
		return nil
	}
	for i := len(x.labels) - 1; i >= max(0, len(x.labels)-mostCentres); i-- {
		c := x.labels[i]
		switch l := c.look(m.name); {
		case l == nil:
			out = append(out, Wanted{ID: c.id, Labelled: true})
		case !m.current(l):
			out = append(out, Wanted{ID: c.id, Stale: l.version, Labelled: true})
		}
	}
	return out
}

// Coverage says how far the scoring of a model has come, over the images that
// may be handed out.
type Coverage struct {
	Version                string
	Round                  int
	Fresh, Stale, Unscored int
	Flagged                int // corrupt or far off, of all models
}

// Coverage returns that of a model. Stale may count some as stale whose version
// has come back into service.
func (x *Index) Coverage(model string) Coverage {
	x.mu.Lock()
	defer x.mu.Unlock()
	m := x.model(model)
	return Coverage{
		Version: m.version, Round: m.round, Fresh: m.fresh.len(), Stale: m.stale.len(), Unscored: m.unscored.len(),
		Flagged: x.flagged.len(),
	}
}

// Spent records how many seconds a person took to annotate an image; the
// cost-aware strategy learns from it. Repeating it is harmless. Give it after
// the image's observation; without one, and for seconds that are not positive,
// it does nothing.
func (x *Index) Spent(id string, seconds float64) {
	if !(seconds > 0) {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.images[id]
	if c == nil {
		return
	}
	if l := c.look(x.main); l != nil {
		x.efforts.put(id, EffortSample{Predicted: l.predicted, Uncertain: l.uncertain, Seconds: seconds})
	}
}
