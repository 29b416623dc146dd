// Package schedule decides when a training starts: at the times of cron
// expressions, after a number of new labels, or on demand, held back by
// debounce, cool-down and time windows.
//
// Rules are a pure function of the time and a State, which survives restarts;
// Clock turns them into calls.
package schedule

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
)

// Options say when trainings start. The zero value starts none by itself.
type Options struct {
	// Cron are expressions of five fields (minute, hour, day of month, month, day
	// of week), "@daily" and the like, or "@every 2h"; "CRON_TZ=Europe/Berlin "
	// before one sets its time zone, otherwise it is that of Location. An "@every"
	// counts from the start of 1970, so that neither labels nor restarts move it.
	Cron []string
	// NewLabels starts a training after so many labels saved since the last one
	// started; 0: never.
	NewLabels int
	// NeedLabels leaves out a time of Cron when no label is new.
	NeedLabels bool
	Debounce   time.Duration // quiet time after the last label before a training may start
	CoolDown   time.Duration // time between the end of a training and the start of the next
	// Windows are times of day in which trainings may start, "22:00-06:00", with
	// optional days "Mon-Fri 22:00-06:00"; none: always. A window that passes
	// midnight belongs to the day on which it begins.
	Windows []string
	// Missed says what happens to times of Cron that passed while the server was
	// down: "run" makes one training of them, "skip" (the default) none.
	Missed   string
	Location *time.Location // nil: the machine's
}

// What becomes of missed times.
const (
	RunMissed  = "run"
	SkipMissed = "skip"
)

// Rules are checked Options.
type Rules struct {
	o       Options
	cron    []times
	windows []window
}

// New checks the options. Errors are of kind fault.Invalid and name the key.
func New(o Options) (*Rules, error) {
	if o.Location == nil {
		o.Location = time.Local
	}
	r := &Rules{o: o}
	for i, text := range o.Cron {
		t, err := parseTimes(text, o.Location)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "schedule.cron[%d]: %q is no cron expression: %s", i, text, strings.TrimSuffix(err.Error(), ": "+text))
		}
		r.cron = append(r.cron, t)
	}
	for i, text := range o.Windows {
		w, err := parseWindow(text)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "schedule.windows[%d]: %s", i, err.Error())
		}
		r.windows = append(r.windows, w)
	}
	switch {
	case o.NewLabels < 0:
		return nil, fault.New(fault.Invalid, "schedule.new_labels: %d is negative", o.NewLabels)
	case o.Debounce < 0 || o.CoolDown < 0:
		return nil, fault.New(fault.Invalid, "schedule.debounce and schedule.cool_down cannot be negative")
	case !slices.Contains([]string{"", RunMissed, SkipMissed}, o.Missed):
		return nil, fault.New(fault.Invalid, "schedule.missed: %q is neither run nor skip", o.Missed)
	}
	return r, nil
}

// State is what the rules remember. The zero value is a loop that never ran.
type State struct {
	Checked   time.Time `json:"checked"`    // times of Cron up to here are dealt with
	Due       time.Time `json:"due"`        // a time of Cron, or a wish, that still waits for its training; zero: none
	Cause     string    `json:"cause"`      // of Due
	NewLabels int       `json:"new_labels"` // saved since the last training started
	LastLabel time.Time `json:"last_label"`
	Started   time.Time `json:"started"` // the last training
	Ended     time.Time `json:"ended"`   // zero while it runs
}

// running reports whether a training is under way.
func (s State) running() bool { return !s.Started.IsZero() && s.Ended.Before(s.Started) }

// Decision is what the rules say at a moment.
type Decision struct {
	Start bool
	Cause string // of the start: "cron 0 2 * * *", "5 new labels", or what Want was told
	// Next is the time at which to ask again when nothing happens before; zero:
	// never.
	Next time.Time
	// Waiting says what holds a due training back; "": nothing is due.
	Waiting string
}

// Resume is called once after a start of the program: it deals with the times
// that passed while it was down. resumed tells that a training that was
// interrupted goes on; otherwise one that ran has died with the program.
func (r *Rules) Resume(s State, now time.Time, resumed bool) State {
	s = s.notAhead(now)
	switch {
	case resumed && !s.running(): // the schedule did not start it
		s.Started, s.Ended = now, now.Add(-1)
	case !resumed && s.running():
		s.Ended = now
	}
	if r.o.Missed == RunMissed {
		return r.Advance(s, now)
	}
	s.Checked = now
	return s
}

// notAhead brings times that lie ahead of a clock which was set back down to
// now: what happened then must not hold trainings back until the clock is there
// again.
func (s State) notAhead(now time.Time) State {
	running := s.running()
	for _, t := range []*time.Time{&s.Checked, &s.LastLabel, &s.Started, &s.Ended} {
		if t.After(now) {
			*t = now
		}
	}
	if running && !s.running() {
		s.Ended = s.Started.Add(-1)
	}
	return s
}

// Advance moves times of Cron that have passed into Due.
func (r *Rules) Advance(s State, now time.Time) State {
	if s = s.notAhead(now); s.Checked.IsZero() {
		s.Checked = now
	}
	for i, c := range r.cron {
		at := c.next(s.Checked)
		if at.IsZero() || at.After(now) || r.o.NeedLabels && s.NewLabels == 0 {
			continue
		}
		if s.Due.IsZero() || at.Before(s.Due) {
			s.Due, s.Cause = at, "cron "+r.o.Cron[i]
		}
	}
	s.Checked = now
	return s
}

// Want makes a training due now, on somebody's wish; the reason is its cause.
func (r *Rules) Want(s State, now time.Time, reason string) State {
	s.Due, s.Cause = now, reason
	return s
}

// Decide says whether a training starts now. s must have been advanced.
func (r *Rules) Decide(s State, now time.Time) Decision {
	d := Decision{Next: r.nextCron(now)}
	if s.running() {
		d.Waiting = "a training is running"
		return d
	}
	switch {
	case !s.Due.IsZero():
		d.Cause = s.Cause
	case r.o.NewLabels > 0 && s.NewLabels >= r.o.NewLabels:
		d.Cause = fmt.Sprintf("%d new labels", s.NewLabels)
	default:
		return d
	}
	if at, why := r.heldBack(s, now); at.After(now) {
		d.Cause, d.Waiting = "", d.Cause+" waits: "+why
		if d.Next.IsZero() || at.Before(d.Next) {
			d.Next = at
		}
		return d
	}
	d.Start = true
	return d
}

// heldBack returns the first moment at which nothing holds a training back, and
// what does until then.
func (r *Rules) heldBack(s State, now time.Time) (time.Time, string) {
	at, why := now, ""
	if t := s.LastLabel.Add(r.o.Debounce); !s.LastLabel.IsZero() && t.After(at) {
		at, why = t, "labels are still coming in"
	}
	if t := s.Ended.Add(r.o.CoolDown); !s.Ended.IsZero() && t.After(at) {
		at, why = t, "cool-down after the last training"
	}
	if t := r.open(at); t.After(at) {
		at, why = t, "outside the time windows"
	}
	return at, why
}

// nextCron is the next time of any cron expression; zero: none.
func (r *Rules) nextCron(now time.Time) time.Time {
	var next time.Time
	for _, c := range r.cron {
		if t := c.next(now); !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	return next
}

// Began is the state after a training has started.
func (r *Rules) Began(s State, now time.Time) State {
	s.Due, s.Cause, s.NewLabels, s.Started = time.Time{}, "", 0, now
	return s
}

// Ended is the state after the training has ended, however it did.
func (r *Rules) Ended(s State, now time.Time) State {
	s.Ended = now
	return s
}

// Labelled is the state after a label was saved.
func (r *Rules) Labelled(s State, now time.Time) State {
	s.NewLabels++
	s.LastLabel = now
	return s
}
