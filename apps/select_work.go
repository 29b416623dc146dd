package apps

import (
	"context"
	"errors"
	"time"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/strategies"
)

const (
	lookAgain   = 5 * time.Second // between two looks whether something is wanted, without a word
	lookAhead   = 8               // images that are asked for at once
	lookGiveWay = 3               // times that one image's measurement gives way to people's requests when a task waits
	lookPatient = 20              // and when none does
	lookFailing = 3               // images that a version may fail on before it is the version
)

// looking is an image on its way: it is read while the one before is measured,
// and summed up while the next one is.
type looking struct {
	id, stamp   string
	in          infer.Input
	world       imaging.Affine
	fingerprint []float32
	corrupt     string
	measured    *infer.Measured
	took        time.Duration // of the measurement
	err         error
	unread      bool // err is of the file
}

// work looks at images until ctx ends: three steps, each with one image at most.
func (s *selection) work(ctx context.Context) {
	engine, ok := s.app.engine.(measurer)
	if !ok {
		s.block("the models of this server cannot tell how sure they are")
		return
	}
	read, measured := make(chan *looking), make(chan *looking)
	s.wg.Go(func() {
		defer close(read)
		s.readAll(ctx, read)
	})
	s.wg.Go(func() {
		defer close(measured)
		for l := range read {
			spent := s.measure(ctx, engine, l)
			measured <- l
			s.rest(ctx, spent)
		}
	})
	for l := range measured {
		s.conclude(ctx, l)
		s.mu.Lock()
		delete(s.flight, l.id)
		s.mu.Unlock()
		nudge(s.wake)
	}
}

// readAll reads what is wanted, one image after the other.
func (s *selection) readAll(ctx context.Context, out chan<- *looking) {
	for ctx.Err() == nil {
		id := s.next()
		if id == "" {
			t := time.NewTimer(lookAgain)
			select {
			case <-ctx.Done():
			case <-s.wake:
			case <-t.C:
			}
			t.Stop()
			continue
		}
		l := s.read(ctx, id)
		select {
		case out <- l:
		case <-ctx.Done():
			return
		}
	}
}

// next chooses an image and counts it in; "" when there is nothing to do.
func (s *selection) next() string {
	ok := s.serve()
	s.mu.Lock()
	gone := s.gone
	s.gone = nil
	idle := !ok || s.blocked != "" || s.o.Budget <= 0 && s.hurry == 0
	if idle {
		s.round++
	}
	skip := len(s.flight) + len(s.tried)
	s.mu.Unlock()
	for _, id := range gone {
		s.file.forget(id)
	}
	if idle {
		return ""
	}
	id, over := s.choose(s.index.Wanted(s.model, lookAhead+skip))
	if over {
		if err := s.file.tidy(); err != nil {
			s.log.Warn("the observations' file cannot be written anew", "err", err)
		}
	}
	return id
}

// choose takes the first image that is not looked at already. over tells that
// every image has been looked at.
func (s *selection) choose(wanted []strategies.Wanted) (id string, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.o.Budget <= 0 && s.allow == 0 {
		return "", false
	}
	for _, w := range wanted {
		if !s.flight[w.ID] && !s.tried[w.ID] {
			s.flight[w.ID] = true
			if s.allow > 0 {
				s.allow--
			}
			if s.begun.IsZero() {
				s.begun, s.run = time.Now(), 0
			}
			return w.ID, false
		}
	}
	if len(s.flight) > 0 {
		return "", false
	}
	s.nothingLeft()
	return "", true
}

// nothingLeft tells that every image has been looked at. It needs the lock.
func (s *selection) nothingLeft() {
	s.round++
	if len(s.failures) > 0 { // all that there is fails
		s.blocked = s.failures[len(s.failures)-1].Look.Corrupt
		s.log.Warn("the model scores no image", "model", s.model, "version", s.version, "why", s.blocked)
		s.failures = nil
	}
	if s.begun.IsZero() {
		return
	}
	took := time.Since(s.begun)
	s.begun = time.Time{}
	if s.run > 0 {
		s.app.events.emit(ScoresRefreshed, scoresData(s.model, s.version, s.run, took.Seconds()))
		s.log.Info("scores are current", "model", s.model, "version", s.version, "scored", s.run, "dur", took)
	}
}

func (s *selection) block(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocked = why
	s.round++
}

// read reads an image's voxels and takes its fingerprint.
func (s *selection) read(ctx context.Context, id string) *looking {
	l := &looking{id: id}
	img, err := s.app.usable(id)
	if err == nil {
		l.stamp, err = fileStamp(img)
	}
	if err == nil {
		l.in.Volumes, err = s.app.readImage(ctx, source{id: id, files: img.Files, what: "the image", ext: img.Ext})
	}
	if err != nil {
		l.err, l.unread = err, true
		return l
	}
	v := l.in.Volumes[0]
	l.world = v.Affine
	l.fingerprint, l.corrupt = fingerprint(v)
	return l
}

// measure waits for a turn and asks the model. spent is the time on the device,
// measurements that gave way included.
func (s *selection) measure(ctx context.Context, engine measurer, l *looking) (spent time.Duration) {
	for given := 0; l.err == nil; {
		s.mu.Lock()
		task := s.hurry > 0
		s.mu.Unlock()
		yield, firm := s.app.background.yieldSpare, given >= lookPatient
		if task {
			yield, firm = s.app.background.yield, given >= lookGiveWay
		}
		gave, err := yield(ctx, firm, func(ctx context.Context) error {
			begin := time.Now()
			m, err := engine.Measure(ctx, s.model, l.in, infer.Options{}, s.rules.Sampling)
			l.measured, l.took = m, time.Since(begin)
			spent += l.took
			s.count.seconds.Add(l.took.Seconds())
			return err
		})
		switch {
		case gave:
			given++
			s.count.preempted.Inc()
		case err != nil && fault.KindOf(err) == fault.Busy && pause(ctx, time.Second) == nil:
		default:
			l.err = err
			l.in = infer.Input{} // the voxels are not needed any more
			return spent
		}
	}
	return spent
}

// rest keeps the device free for the share of the time that is not the
// background's, unless a task waits.
func (s *selection) rest(ctx context.Context, took time.Duration) {
	if s.o.Budget <= 0 || s.o.Budget >= 1 {
		return
	}
	end := time.Now().Add(time.Duration(float64(took) * (1 - s.o.Budget) / s.o.Budget))
	for left := time.Until(end); left > 0; left = time.Until(end) {
		s.mu.Lock()
		hurry := s.hurry > 0
		s.mu.Unlock()
		if hurry || pause(ctx, min(left, 100*time.Millisecond)) != nil {
			return
		}
	}
}

// conclude sums up what was measured and keeps it.
func (s *selection) conclude(ctx context.Context, l *looking) {
	if l.err != nil {
		s.failed(ctx, l)
		return
	}
	seen := Seen{Image: l.id, Model: s.model, Measured: l.measured, Took: l.took}
	ob, err := s.rules.sumUp(ctx, seen, l.world, l.fingerprint, l.corrupt)
	if err != nil {
		l.err = err
		s.failed(ctx, l)
		return
	}
	s.mu.Lock()
	s.seen++
	s.run++
	s.looks++
	due := s.failures
	s.failures = nil
	s.mu.Unlock()
	s.keep(keptLook{Stamp: l.stamp, Look: ob})
	for _, k := range due { // the version can be trusted: it was the image
		s.keep(k)
	}
}

// keep gives an observation to the index and to the file, unless the image has
// changed meanwhile.
func (s *selection) keep(k keptLook) {
	img, err := s.app.store.Image(k.Look.Image)
	if err != nil {
		return
	}
	if stamp, err := fileStamp(img); err != nil || stamp != k.Stamp {
		return
	}
	if err := s.index.Put(k.Look); err != nil {
		return // the image has gone
	}
	if err := s.file.add(k); err != nil {
		s.log.Warn("an observation is not kept over a restart", "image", k.Look.Image, "err", err)
	}
	if k.Look.Corrupt == "" {
		s.count.scored.Inc()
	} else {
		s.count.failed.Inc()
	}
	nudge(s.plan)
}

// failed decides what a failure means: the image is flagged and not asked for
// again, or, when the version has done nothing else, it is the version.
func (s *selection) failed(ctx context.Context, l *looking) {
	kind := fault.KindOf(l.err)
	switch {
	case ctx.Err() != nil:
		return
	case kind == fault.NotFound, kind == fault.Unavailable, errors.Is(l.err, context.Canceled):
		_ = pause(ctx, time.Second) // it was removed, or the model is being loaded, or the disk is away
		return
	}
	why, ok := fault.Message(l.err)
	if !ok {
		why = "it failed; the server's log says why"
	}
	s.log.Warn("an image could not be scored", "model", s.model, "image", l.id, "err", l.err)
	s.mu.Lock()
	k := keptLook{Stamp: l.stamp, Look: &strategies.Observation{
		Image: l.id, Model: s.model, Version: s.version, Passes: s.rules.Passes, Aggregation: s.rules.observe.Aggregation(),
		Fingerprint: l.fingerprint, Corrupt: why, Time: time.Now().Unix(),
	}}
	s.tried[l.id] = true
	image := l.unread || s.seen > 0
	if !image {
		s.failures = append(s.failures, k)
		if len(s.failures) >= lookFailing {
			s.blocked, s.failures = why, nil
			s.log.Warn("the model scores no image", "model", s.model, "version", s.version, "why", why)
		}
	}
	s.mu.Unlock()
	if image {
		s.keep(k)
	}
}
