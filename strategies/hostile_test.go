package strategies

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// oddObservation is one that no look gives, but a damaged file may.
func oddObservation(t *rapid.T, id string) *Observation {
	number := rapid.SampledFrom([]float64{0, -1, 1, 1e-300, 1e300, -1e300, 0.5})
	ob := &Observation{
		Image: id, Model: rapid.SampledFrom([]string{"", "m", "other"}).Draw(t, "model"),
		Version: rapid.SampledFrom([]string{"", "v1", "v2"}).Draw(t, "version"),
		Passes:  rapid.SampledFrom([]Passes{"", Augmented, Dropout, "odd"}).Draw(t, "passes"),
		Corrupt: rapid.SampledFrom([]string{"", "", "broken"}).Draw(t, "corrupt"),
		Scores:  map[Measure]float64{"odd": 1}, Predicted: number.Draw(t, "predicted"), Uncertain: number.Draw(t, "uncertain"),
	}
	for _, m := range Measures() {
		if rapid.Bool().Draw(t, "has") {
			ob.Scores[m] = number.Draw(t, "score")
		}
	}
	for range rapid.IntRange(0, 4).Draw(t, "classes") {
		c := rapid.SampledFrom([]int{-3, 0, 1, 2, 1 << 40}).Draw(t, "class")
		ob.Classes = append(ob.Classes, ClassScore{Class: c, Score: number.Draw(t, "score"), Voxels: -1})
	}
	values := rapid.SliceOfN(rapid.Float32(), 0, 3)
	ob.Features, ob.Fingerprint = values.Draw(t, "features"), values.Draw(t, "fingerprint")
	return ob
}

// TestHostileObservations: whatever a file on the disk says, every strategy
// hands out every image once. VOXLOOP_INDEX_CHECKS sets how often it is tried.
func TestHostileObservations(t *testing.T) {
	setChecks(t, "400")
	rapid.Check(t, func(t *rapid.T) {
		x := Open(Options{ColdStart: -1, Lease: time.Hour})
		x.Serve("m", "v1", rapid.IntRange(-5, 2000).Draw(t, "round"))
		const n = 14
		for i := range n {
			x.Handle(Event{ID: caseID(i)})
			if err := x.Put(oddObservation(t, caseID(i))); err != nil {
				t.Fatal(err)
			}
		}
		x.Handle(Event{ID: caseID(n), Labelled: true})
		x.Spent(caseID(0), 5)
		specs := allSpecs()
		s, err := New(x, specs[rapid.IntRange(0, len(specs)-1).Draw(t, "kind")])
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for len(seen) < n {
			picks, err := Batch(t.Context(), s, Request{Now: second(1000)}, rapid.IntRange(1, 5).Draw(t, "n"))
			if err != nil {
				t.Fatalf("%s after %d of %d: %v", s.Name(), len(seen), n, err)
			}
			for _, p := range picks {
				if seen[p.ID] {
					t.Fatalf("%s: %s came twice", s.Name(), p.ID)
				}
				seen[p.ID] = true
				if _, err := p.Extra.MarshalJSON(); err != nil {
					t.Fatalf("%s: %v", s.Name(), err)
				}
			}
		}
	})
}
