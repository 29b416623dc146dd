package local

import (
	"fmt"
	"slices"
	"testing"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/ordered"
)

// TestMarkServedWaitsForNoSubscriber: while a subscriber is busy with a label,
// images are looked at and handed out. It learns of it afterwards, in order,
// and nothing is told twice or after the end of the subscription.
func TestMarkServedWaitsForNoSubscriber(t *testing.T) {
	s := open(t, Options{Studies: t.TempDir()})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, id := range []string{"a", "b"} {
		if _, err := s.AddImage(t.Context(), id, ".nii", nil, bytesWriter("x")); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	busy, free := make(chan struct{}), make(chan struct{})
	cancel := s.Subscribe(func(ev datastore.Event) {
		got = append(got, fmt.Sprint(ev.Kind, ev.Image.ID, ev.Time))
		if ev.Kind == datastore.LabelSaved {
			close(busy)
			<-free
		}
	})
	saved := make(chan error)
	go func() {
		_, err := s.SaveLabel(t.Context(), "a", "final", datastore.LabelFile{Ext: ".nii", Info: &ordered.Map{}, Write: bytesWriter("x")})
		saved <- err
	}()
	<-busy
	for i := range 3 { // would wait for ever
		if err := s.MarkServed("b", "random", "c", int64(i)); err != nil {
			t.Fatal(err)
		}
	}
	img, err := s.Image("b")
	if err != nil {
		t.Fatal(err)
	}
	if ts, _ := img.Info.Sub("strategy").Sub("random").Get("ts"); fmt.Sprint(ts) != "2" {
		t.Errorf("last served %v, want 2", ts)
	}
	select {
	case err := <-saved:
		t.Fatalf("the save returned before its event was told: %v", err)
	default:
	}
	close(free)
	if err := <-saved; err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := s.MarkServed("b", "random", "c", 9); err != nil {
		t.Fatal(err)
	}
	want := []string{
		fmt.Sprint(datastore.ImageAdded, "a", 0), fmt.Sprint(datastore.ImageAdded, "b", 0), fmt.Sprint(datastore.LabelSaved, "a", 0),
		fmt.Sprint(datastore.Served, "b", 0), fmt.Sprint(datastore.Served, "b", 1), fmt.Sprint(datastore.Served, "b", 2),
	}
	if !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
}
