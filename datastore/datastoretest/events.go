package datastoretest

import (
	"fmt"
	"slices"
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
