package schedule

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// window is a time of day on some days of the week.
type window struct {
	from, to int // minutes after midnight; to ≤ from passes midnight
	days     [7]bool
}

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// parseWindow reads "22:00-06:00" or "Mon-Fri,Sun 22:00-06:00".
func parseWindow(text string) (window, error) {
	var w window
	fields := strings.Fields(text)
	switch len(fields) {
	case 1:
		w.days = [7]bool{true, true, true, true, true, true, true}
	case 2:
		if err := w.parseDays(fields[0]); err != nil {
			return w, fmt.Errorf("%q: %w", text, err)
		}
	default:
		return w, fmt.Errorf(`%q is not of the form "22:00-06:00" or "Mon-Fri 22:00-06:00"`, text)
	}
	from, to, ok := strings.Cut(fields[len(fields)-1], "-")
	a, errA := time.Parse("15:04", from)
	b, errB := time.Parse("15:04", strings.Replace(to, "24:00", "00:00", 1))
	if !ok || errA != nil || errB != nil {
		return w, fmt.Errorf(`%q: times are written as "22:00-06:00"`, text)
	}
	w.from, w.to = 60*a.Hour()+a.Minute(), 60*b.Hour()+b.Minute()
	return w, nil
}

func (w *window) parseDays(text string) error {
	for part := range strings.SplitSeq(strings.ToLower(text), ",") {
		first, last, span := strings.Cut(part, "-")
		if !span {
			last = first
		}
		i, j := slices.Index(dayNames, first), slices.Index(dayNames, last)
		if i < 0 || j < 0 {
			return fmt.Errorf("days are Mon, Tue, Wed, Thu, Fri, Sat, Sun and spans of them, not %q", part)
		}
		for ; ; i = (i + 1) % 7 {
			w.days[i] = true
			if i == j {
				break
			}
		}
	}
	return nil
}

// span returns the window that begins on a day, given by its midnight.
func (w window) span(midnight time.Time) (from, to time.Time) {
	y, m, d := midnight.Date()
	from = time.Date(y, m, d, 0, w.from, 0, 0, midnight.Location())
	if w.to <= w.from {
		d++
	}
	return from, time.Date(y, m, d, 0, w.to, 0, 0, midnight.Location())
}

// open returns t when it lies in a window, or the start of the next one.
func (r *Rules) open(t time.Time) time.Time {
	if len(r.windows) == 0 {
		return t
	}
	y, m, d := t.In(r.o.Location).Date()
	var next time.Time
	for ahead := -1; ahead <= 8; ahead++ {
		day := time.Date(y, m, d+ahead, 0, 0, 0, 0, r.o.Location)
		for _, w := range r.windows {
			if !w.days[day.Weekday()] {
				continue
			}
			from, to := w.span(day)
			if !t.Before(from) && t.Before(to) {
				return t
			}
			if from.After(t) && (next.IsZero() || from.Before(next)) {
				next = from
			}
		}
	}
	return next
}
