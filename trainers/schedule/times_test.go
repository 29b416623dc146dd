package schedule

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata" // the zones of these tests, on any machine
)

// In Berlin, 2026-03-29 has no 02:00 to 03:00, 2026-10-25 has it twice.
func TestDaylightSaving(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		cron, from, until string
		want              []string // in UTC
	}{
		{"30 2 * * *", "2026-03-27 12:00", "2026-03-30 12:00", []string{"03-28 01:30", "03-29 01:30", "03-30 00:30"}},
		{"30 2 * * *", "2026-10-24 12:00", "2026-10-26 12:00", []string{"10-25 00:30", "10-26 01:30"}},
		{"0 3 * * *", "2026-03-28 12:00", "2026-03-30 12:00", []string{"03-29 01:00", "03-30 01:00"}},
		{"15 1,4 * * *", "2026-03-28 22:00", "2026-03-29 22:00", []string{"03-29 00:15", "03-29 02:15"}},
		{"0 * * * *", "2026-10-24 23:30", "2026-10-25 02:30", []string{"10-25 00:00", "10-25 01:00", "10-25 02:00"}}, // every hour that passes
		{"CRON_TZ=UTC 30 2 * * *", "2026-10-24 12:00", "2026-10-26 12:00", []string{"10-25 02:30", "10-26 02:30"}},
		{"@every 90m", "2026-10-24 23:00", "2026-10-25 02:30", []string{"10-25 00:00", "10-25 01:30"}},
		{"0 0 30 2 *", "2026-01-01 00:00", "2026-01-02 00:00", nil},
	} {
		r, err := New(Options{Cron: []string{tt.cron}, Location: berlin})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		s, end := State{Checked: at(t, tt.from)}, at(t, tt.until)
		for now := s.Checked; !now.After(end); now = now.Add(7 * time.Minute) {
			if s = r.Advance(s, now); s.Due.IsZero() {
				continue
			}
			got = append(got, s.Due.UTC().Format("01-02 15:04"))
			s = r.Ended(r.Began(s, now), now)
		}
		if len(got) != len(tt.want) {
			t.Errorf("%s: %v, want %v", tt.cron, got, tt.want)
			continue
		}
		for i := range got {
			if got[i] != tt.want[i] {
				t.Errorf("%s: %v, want %v", tt.cron, got, tt.want)
				break
			}
		}
	}
}

// A clock that was a year ahead is set back: what happened then holds nothing
// back, a training that runs runs still, and each time of cron comes once.
func TestClockSetBack(t *testing.T) {
	ahead, now := at(t, "2027-11-25 12:00"), at(t, "2026-11-25 12:00")
	r := rules(t, Options{Cron: []string{"0 2 * * *"}, NewLabels: 1, Debounce: time.Hour, CoolDown: 2 * time.Hour})
	done := State{Checked: ahead, NewLabels: 1, LastLabel: ahead, Started: ahead.Add(-time.Hour), Ended: ahead}
	s := r.Advance(done, now)
	if d := r.Decide(s, now); d.Start || !d.Next.Equal(now.Add(2*time.Hour)) {
		t.Errorf("after the clock was set back: %+v", d)
	}
	if d := r.Decide(r.Advance(s, now.Add(2*time.Hour)), now.Add(2*time.Hour)); !d.Start {
		t.Errorf("two hours later: %+v", d)
	}
	busy := r.Advance(State{Checked: ahead, NewLabels: 1, Started: ahead, Ended: ahead.Add(-time.Hour)}, now)
	if d := r.Decide(busy, now); d.Start || d.Waiting != "a training is running" {
		t.Errorf("while one runs: %+v", d)
	}
	if d := r.Decide(r.Resume(done, now, false), now); d.Start || !d.Next.Equal(now.Add(2*time.Hour)) {
		t.Errorf("over a restart: %+v", d)
	}
	if got := r.Advance(s, now).Due; !got.IsZero() {
		t.Errorf("a time of cron is due: %v", got)
	}
}

// An interval longer than the time between two looks comes all the same, also
// when labels wake the clock all the time.
func TestEveryIsNotPutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got starts
		c := NewClock(rules(t, Options{Cron: []string{"@every 2h"}}), State{}, Hooks{Start: got.start, Logger: slog.New(slog.DiscardHandler)})
		defer c.Close()
		for range 3 * 60 {
			time.Sleep(time.Minute)
			c.Labelled()
		}
		synctest.Wait()
		if l := got.list(); l != "cron @every 2h" {
			t.Errorf("in three hours: started %q", l)
		}
	})
}
