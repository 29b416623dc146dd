package schedule

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/voxloop/voxloop/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func at(t testing.TB, text string) time.Time {
	t.Helper()
	v, err := time.ParseInLocation("2006-01-02 15:04", text, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func rules(t testing.TB, o Options) *Rules {
	t.Helper()
	o.Location = time.UTC
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOptionsAreChecked(t *testing.T) {
	for want, o := range map[string]Options{
		"schedule.cron[1]":    {Cron: []string{"@daily", "61 * * * *"}},
		"schedule.windows[0]": {Windows: []string{"22-06"}},
		"not \"mo\"":          {Windows: []string{"mo 22:00-06:00"}},
		"schedule.new_labels": {NewLabels: -1},
		"schedule.debounce":   {Debounce: -1},
		"schedule.missed":     {Missed: "maybe"},
	} {
		_, err := New(o)
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %s", o, err, want)
		}
	}
}

func TestDecide(t *testing.T) {
	night := []string{"22:00-06:00"}
	for name, tt := range map[string]struct {
		o             Options
		s             State
		now           string
		start         bool
		cause, wait   string
		next          string
		wantNextNever bool
	}{
		"nothing is due":      {o: Options{}, now: "2026-11-25 12:00", wantNextNever: true},
		"cron in the future":  {o: Options{Cron: []string{"0 2 * * *"}}, s: State{Checked: at(t, "2026-11-25 11:00")}, now: "2026-11-25 12:00", next: "2026-11-26 02:00"},
		"cron now":            {o: Options{Cron: []string{"0 2 * * *"}}, s: State{Checked: at(t, "2026-11-25 01:59")}, now: "2026-11-25 02:00", start: true, cause: "cron 0 2 * * *"},
		"the earlier of two":  {o: Options{Cron: []string{"30 1 * * *", "0 1 * * *"}}, s: State{Checked: at(t, "2026-11-25 00:00")}, now: "2026-11-25 02:00", start: true, cause: "cron 0 1 * * *"},
		"time zone of a cron": {o: Options{Cron: []string{"CRON_TZ=Asia/Tokyo 0 9 * * *"}}, s: State{Checked: at(t, "2026-11-24 23:59")}, now: "2026-11-25 00:00", start: true, cause: "cron CRON_TZ=Asia/Tokyo 0 9 * * *"},
		"no label is new":     {o: Options{Cron: []string{"0 2 * * *"}, NeedLabels: true}, s: State{Checked: at(t, "2026-11-25 01:59")}, now: "2026-11-25 02:00", next: "2026-11-26 02:00"},
		"too few labels":      {o: Options{NewLabels: 5}, s: State{NewLabels: 4}, now: "2026-11-25 12:00", wantNextNever: true},
		"enough labels":       {o: Options{NewLabels: 5}, s: State{NewLabels: 6}, now: "2026-11-25 12:00", start: true, cause: "6 new labels"},
		"debounce": {
			o: Options{NewLabels: 1, Debounce: 10 * time.Minute}, s: State{NewLabels: 1, LastLabel: at(t, "2026-11-25 11:55")}, now: "2026-11-25 12:00",
			wait: "labels are still coming in", next: "2026-11-25 12:05",
		},
		"debounce is over": {o: Options{NewLabels: 1, Debounce: 10 * time.Minute}, s: State{NewLabels: 1, LastLabel: at(t, "2026-11-25 11:50")}, now: "2026-11-25 12:00", start: true, cause: "1 new labels"},
		"cool-down": {
			o: Options{NewLabels: 1, CoolDown: time.Hour}, s: State{NewLabels: 1, Started: at(t, "2026-11-25 11:00"), Ended: at(t, "2026-11-25 11:30")}, now: "2026-11-25 12:00",
			wait: "cool-down", next: "2026-11-25 12:30",
		},
		"running": {o: Options{NewLabels: 1}, s: State{NewLabels: 1, Started: at(t, "2026-11-25 11:00")}, now: "2026-11-25 12:00", wait: "a training is running", wantNextNever: true},
		"outside the window": {
			o: Options{NewLabels: 1, Windows: night}, s: State{NewLabels: 1}, now: "2026-11-25 12:00",
			wait: "outside the time windows", next: "2026-11-25 22:00",
		},
		"in yesterday's window": {o: Options{NewLabels: 1, Windows: night}, s: State{NewLabels: 1}, now: "2026-11-25 05:59", start: true, cause: "1 new labels"},
		"at its end":            {o: Options{NewLabels: 1, Windows: night}, s: State{NewLabels: 1}, now: "2026-11-25 06:00", wait: "outside", next: "2026-11-25 22:00"},
		"a weekend's window": { // 2026-11-25 is a Wednesday
			o: Options{NewLabels: 1, Windows: []string{"Sat-Sun 08:00-20:00"}}, s: State{NewLabels: 1}, now: "2026-11-25 12:00", wait: "outside", next: "2026-11-28 08:00",
		},
		"cool-down ends outside the window": {
			o:   Options{NewLabels: 1, CoolDown: 2 * time.Hour, Windows: night},
			s:   State{NewLabels: 1, Started: at(t, "2026-11-25 03:00"), Ended: at(t, "2026-11-25 05:00")},
			now: "2026-11-25 05:30", wait: "outside", next: "2026-11-25 22:00",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, now := rules(t, tt.o), at(t, tt.now)
			d := r.Decide(r.Advance(tt.s, now), now)
			if d.Start != tt.start || d.Cause != tt.cause || !strings.Contains(d.Waiting, tt.wait) || tt.wait == "" && d.Waiting != "" {
				t.Errorf("%+v", d)
			}
			if tt.next != "" && !d.Next.Equal(at(t, tt.next)) || tt.wantNextNever && !d.Next.IsZero() {
				t.Errorf("next look %s, want %s", d.Next, tt.next)
			}
		})
	}
}

func TestMissedTimes(t *testing.T) {
	down := State{Checked: at(t, "2026-11-22 12:00")} // three nights away
	now := at(t, "2026-11-25 12:00")
	for missed, start := range map[string]bool{"": false, SkipMissed: false, RunMissed: true} {
		r := rules(t, Options{Cron: []string{"0 2 * * *"}, Missed: missed})
		s := r.Resume(down, now, false)
		if d := r.Decide(r.Advance(s, now), now); d.Start != start {
			t.Errorf("missed %q: %+v", missed, d)
		}
		s = r.Ended(r.Began(s, now), now)
		if d := r.Decide(r.Advance(s, now), now); d.Start {
			t.Errorf("missed %q: a second training of the same times", missed)
		}
	}
	r := rules(t, Options{NewLabels: 1})
	s := r.Resume(State{NewLabels: 1, Started: at(t, "2026-11-25 10:00")}, now, false)
	if d := r.Decide(s, now); !d.Start {
		t.Errorf("a training that died with the program blocks the next one: %+v", d)
	}
	for _, s := range []State{{NewLabels: 1, Started: at(t, "2026-11-25 10:00")}, {NewLabels: 1, Started: at(t, "2026-11-25 09:00"), Ended: at(t, "2026-11-25 10:00")}} {
		s = r.Resume(s, now, true)
		if d := r.Decide(s, now); d.Start || d.Waiting != "a training is running" || s.NewLabels != 1 {
			t.Errorf("beside a training that was taken up again: %+v", d)
		}
		if d := r.Decide(r.Ended(s, now), now); !d.Start {
			t.Errorf("after its end: %+v", d)
		}
	}
}

// starts collects what a clock began.
type starts struct {
	mu     sync.Mutex
	causes []string
	fail   bool
}

func (s *starts) start(cause string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail {
		return errors.New("busy")
	}
	s.causes = append(s.causes, cause)
	return nil
}

func (s *starts) list() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.causes, "; ")
}

func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // its clock begins at midnight UTC, 2000-01-01
		var got starts
		var saved State
		r := rules(t, Options{Cron: []string{"0 2 * * *"}, NewLabels: 3, Debounce: 10 * time.Minute})
		c := NewClock(r, State{}, Hooks{Start: got.start, Save: func(s State) error { saved = s; return nil }, Logger: slog.New(slog.DiscardHandler)})
		defer c.Close()
		expect := func(want string) {
			t.Helper()
			synctest.Wait()
			if l := got.list(); l != want {
				t.Fatalf("%s: started %q, want %q", time.Now().UTC(), l, want)
			}
		}
		expect("")
		for range 3 {
			c.Labelled()
		}
		expect("") // debounce
		time.Sleep(10 * time.Minute)
		expect("3 new labels")
		if saved.NewLabels != 0 || !c.Status().State.running() {
			t.Errorf("%+v", saved)
		}
		time.Sleep(2 * time.Hour)
		expect("3 new labels") // 02:00 has come, the first one runs still
		if w := c.Status().Waiting; w != "a training is running" {
			t.Errorf("waiting: %q", w)
		}
		c.Ended()
		expect("3 new labels; cron 0 2 * * *")
		c.Ended()
		c.Want("by hand")
		expect("3 new labels; cron 0 2 * * *; by hand")
		c.Ended()
		time.Sleep(24 * time.Hour)
		expect("3 new labels; cron 0 2 * * *; by hand; cron 0 2 * * *")
	})
}

func TestClockTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := starts{fail: true}
		c := NewClock(rules(t, Options{NewLabels: 2}), State{}, Hooks{Start: got.start, Logger: slog.New(slog.DiscardHandler)})
		defer c.Close()
		c.Labelled()
		c.Labelled()
		synctest.Wait()
		if s := c.Status(); s.State.running() || s.State.NewLabels != 2 || s.State.Cause != "2 new labels" {
			t.Fatalf("%+v", s.State)
		}
		got.mu.Lock()
		got.fail = false
		got.mu.Unlock()
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if l := got.list(); l != "" {
			t.Errorf("started %q before the minute was over", l)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if l := got.list(); l != "2 new labels" {
			t.Errorf("started %q", l)
		}
	})
}
