package schedule

import (
	"time"

	"github.com/robfig/cron/v3"
)

// times is one cron expression in its time zone.
type times struct {
	every time.Duration // of "@every"; 0: of the clock
	spec  cron.SpecSchedule
	loc   *time.Location
}

// starBit marks, in the fields of a cron.SpecSchedule, an asterisk.
const starBit = 1 << 63

func parseTimes(text string, loc *time.Location) (times, error) {
	s, err := cron.ParseStandard(text)
	if err != nil {
		return times{}, err
	}
	if every, ok := s.(cron.ConstantDelaySchedule); ok {
		return times{every: every.Delay}, nil
	}
	t := times{spec: *s.(*cron.SpecSchedule), loc: loc} // the parser makes nothing else
	if t.spec.Location != time.Local {                  // it was named
		t.loc = t.spec.Location
	}
	t.spec.Location = time.UTC
	return t, nil
}

// summer is more than any clock is moved by in spring or autumn.
const summer = 3 * time.Hour

// next returns the first time after t; zero: there is none.
//
// Expressions with fixed hours mean the clock on the wall: an hour that autumn
// repeats counts once, the first time; one that spring leaves out comes as many
// minutes after the change as it would have. Expressions for every hour, and
// "@every", mean the time that passes.
func (s *times) next(t time.Time) time.Time {
	if s.every > 0 {
		return time.Unix(0, (t.UnixNano()/int64(s.every)+1)*int64(s.every)).In(t.Location())
	}
	if s.spec.Hour&starBit != 0 {
		spec := s.spec
		spec.Location = s.loc
		return spec.Next(t)
	}
	wall := onWall(t.In(s.loc)).Add(-summer)
	for {
		if wall = s.spec.Next(wall); wall.IsZero() {
			return wall
		}
		if at := s.moment(wall); at.After(t) {
			return at
		}
	}
}

// onWall is what a clock shows, as a time without a zone (UTC).
func onWall(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// moment is when the clock shows wall, the first time; where it never does, the
// moment by the offset that was valid before.
func (s *times) moment(wall time.Time) time.Time {
	near := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), 0, s.loc)
	by := func(at time.Time) time.Time {
		_, offset := at.Zone()
		return wall.Add(-time.Duration(offset) * time.Second).In(s.loc)
	}
	before, after := by(near.Add(-summer)), by(near.Add(summer))
	if !onWall(before).Equal(wall) && onWall(after).Equal(wall) {
		return after
	}
	return before
}
