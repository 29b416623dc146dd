package datastoretest

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/ordered"
)

var kindNames = map[datastore.EventKind]string{
	datastore.ImageAdded: "added", datastore.ImageRemoved: "removed", datastore.ImageChanged: "changed",
	datastore.LabelSaved: "saved", datastore.LabelRemoved: "unlabelled", datastore.Served: "served", datastore.InfoChanged: "info",
}

func testEvents(t *testing.T, open Opener) {
	s := start(t, open)
	add(t, s, "b")
	add(t, s, "a")
	var got []string
	cancel := s.Subscribe(func(ev datastore.Event) {
		got = append(got, fmt.Sprintf("%s %s %s%s labels=%d sick=%q", kindNames[ev.Kind], ev.Image.ID, ev.Tag, ev.Strategy,
			len(ev.Image.Labels), ev.Image.Quarantined))
		if ev.Kind != datastore.ImageRemoved {
			ev.Image.Info.Set("mine", true) // the maps belong to the receiver
		}
	})
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	add(t, s, "c")
	save(t, s, "b", "final", "x")
	check(s.MarkServed("a", "random", "me", 42))
	check(s.UpdateImageInfo(ctx, "a", ordered.Of("k", 1)))
	check(s.UpdateLabelInfo(ctx, "b", "final", ordered.Of("k", 1)))
	check(s.Quarantine(ctx, "a", "why"))
	add(t, s, "a")
	check(s.RemoveLabel(ctx, "b", "final"))
	save(t, s, "b", "original", "x")
	check(s.RemoveImage(ctx, "b"))
	cancel()
	cancel()
	add(t, s, "late")
	want := []string{
		`added b  labels=0 sick=""`,
		`added a  labels=0 sick=""`,
		`added c  labels=0 sick=""`,
		`saved b final labels=1 sick=""`,
		`served a random labels=0 sick=""`,
		`info a  labels=0 sick=""`,
		`info b final labels=1 sick=""`,
		`info a  labels=0 sick="why"`,
		`changed a  labels=0 sick=""`,
		`unlabelled b final labels=0 sick=""`,
		`saved b original labels=1 sick=""`,
		`unlabelled b original labels=0 sick=""`,
		`removed b  labels=0 sick=""`,
	}
	if !slices.Equal(got, want) {
		for i := range max(len(got), len(want)) {
			t.Errorf("%d: got %q, want %q", i, at(got, i), at(want, i))
		}
	}
	if _, ok := image(t, s, "c").Info.Get("mine"); ok {
		t.Error("a subscriber changed the store")
	}
}

func at(s []string, i int) string {
	if i < len(s) {
		return s[i]
	}
	return ""
}

// watcher notes what a subscriber is told.
type watcher struct {
	end  func()
	seen map[string][]datastore.Event
}

// watch subscribes. No two calls may come at the same time.
func watch(t *testing.T, s datastore.Store) *watcher {
	t.Helper()
	w := &watcher{seen: make(map[string][]datastore.Event)}
	var inside atomic.Bool
	w.end = s.Subscribe(func(ev datastore.Event) {
		if !inside.CompareAndSwap(false, true) {
			t.Error("two events were told at the same time")
		}
		w.seen[ev.Image.ID] = append(w.seen[ev.Image.ID], ev)
		inside.Store(false)
	})
	return w
}

// check compares what was told of img with what is there: every label and every
// hand-out once, in order, and the last state that was told is the present one.
func (w *watcher) check(t *testing.T, img datastore.Image, labels, served int) {
	t.Helper()
	events := w.seen[img.ID]
	version, at, infos := 0, int64(0), 0
	for _, ev := range events {
		switch ev.Kind {
		case datastore.LabelSaved:
			if l, _ := ev.Image.Label("final"); l.Version != version+1 {
				t.Errorf("%s: label %d was told after %d", img.ID, l.Version, version)
			}
			version++
		case datastore.Served:
			if ev.Time != at {
				t.Errorf("%s: the hand-out of %d was told in the place of %d", img.ID, ev.Time, at)
			}
			at++
		default:
		}
		if n := ev.Image.Info.Len(); n < infos {
			t.Errorf("%s: an older state was told after a newer one: %d info keys after %d", img.ID, n, infos)
		} else {
			infos = n
		}
	}
	if version != labels || at != int64(served) {
		t.Errorf("%s: %d labels and %d hand-outs were told, want %d and %d", img.ID, version, at, labels, served)
	}
	last := events[len(events)-1].Image
	if got, want := describe(t, last), describe(t, img); got != want {
		t.Errorf("%s: the last state told is\n%s\nwant\n%s", img.ID, got, want)
	}
}

// describe returns everything that an image says.
func describe(t *testing.T, img datastore.Image) string {
	t.Helper()
	info, err := ordered.Marshal(img.Info)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s%s %q %s", img.ID, img.Ext, img.Quarantined, info)
	for _, l := range img.Labels {
		fmt.Fprintf(&out, " %s:%d", l.Tag, l.Version)
	}
	return out.String()
}
