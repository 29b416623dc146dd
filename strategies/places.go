package strategies

// setLabelled keeps the list of labelled images.
func (x *Index) setLabelled(c *candidate, labelled bool) {
	if c.labelled == labelled {
		return
	}
	c.labelled = labelled
	if labelled {
		x.saved++
		x.labels = append(x.labels, c)
		c.centre = len(x.labels)
		return
	}
	last := x.labels[len(x.labels)-1]
	x.labels[c.centre-1], last.centre = last, c.centre
	x.labels = x.labels[:len(x.labels)-1]
	c.centre = 0
}

// settle puts c into the lists it belongs to and takes it out of the others.
func (x *Index) settle(c *candidate) {
	to := nowhere
	if c.open && c.lease == nil {
		to = inPool
		if x.flaggedNow(c) {
			to = inFlagged
		}
	}
	if c.place == to {
		return
	}
	x.leave(c)
	x.enter(c, to)
}

func (x *Index) leave(c *candidate) {
	switch c.place {
	case nowhere:
		return
	case inPool:
		last := x.pool[len(x.pool)-1]
		x.pool[c.pool], last.pool = last, c.pool
		x.pool[len(x.pool)-1] = nil
		x.pool = x.pool[:len(x.pool)-1]
		for _, m := range x.models {
			m.unrank(c)
		}
		for name, w := range x.weights {
			w.add(c.slot, -1, -c.served[name])
		}
	case inFlagged:
		x.flagged.remove(c.flagKey())
	}
	x.byID.remove(key{c: c})
	c.place = nowhere
}

func (x *Index) enter(c *candidate, to place) {
	switch to {
	case nowhere:
		return
	case inPool:
		c.pool = len(x.pool)
		x.pool = append(x.pool, c)
		for _, m := range x.models {
			m.rank(c)
		}
		for name, w := range x.weights {
			w.add(c.slot, 1, c.served[name])
		}
	case inFlagged:
		x.flagged.insert(c.flagKey())
	}
	x.byID.insert(key{c: c})
	c.place = to
}

// smallest returns the free image whose id comes first.
func (x *Index) smallest() (*candidate, bool) {
	if x.byID.len() == 0 {
		return nil, false
	}
	return x.byID.at(0).c, true
}

// largest returns the free image whose id comes last.
func (x *Index) largest() (*candidate, bool) {
	n := x.byID.len()
	if n == 0 {
		return nil, false
	}
	return x.byID.at(n - 1).c, true
}
