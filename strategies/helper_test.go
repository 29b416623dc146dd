package strategies

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// classesOf is how many classes testObservation knows of.
const classesOf = 3

// testObservation makes one up that depends on the id and version alone.
func testObservation(id, version string) *Observation {
	rng := rand.New(rand.NewPCG(hashOf(id), hashOf(version)))
	ob := &Observation{
		Image: id, Model: "m", Version: version, Passes: Dropout, Count: 5, Aggregation: "foreground",
		Scores:     map[Measure]float64{Entropy: rng.Float64(), BALD: rng.Float64() / 10, Variance: rng.Float64() / 20, Margin: rng.Float64(), Dice: rng.Float64()},
		Foreground: rng.Float64(), Predicted: 1000 * rng.ExpFloat64(), Uncertain: 100 * rng.ExpFloat64(), Time: 1000,
	}
	for c := 1; c <= classesOf; c++ {
		if rng.IntN(3) > 0 {
			ob.Classes = append(ob.Classes, ClassScore{Class: c, Score: rng.Float64(), Voxels: 1 + rng.IntN(1000)})
		}
	}
	for range 8 {
		ob.Features = append(ob.Features, float32(rng.NormFloat64()))
	}
	for range printNumbers {
		ob.Fingerprint = append(ob.Fingerprint, float32(1+0.1*rng.NormFloat64()))
	}
	return ob
}

func caseID(i int) string { return fmt.Sprintf("case_%06d", i) }

// testIndex holds n unlabelled images that a model has looked at, and some
// labelled ones.
func testIndex(t testing.TB, o Options, n, labelled int) *Index {
	t.Helper()
	x := Open(o)
	x.Serve("m", "v1", 0)
	for i := range n + labelled {
		x.Handle(Event{ID: caseID(i), Labelled: i >= n})
		if err := x.Put(testObservation(caseID(i), "v1")); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

func mustNew(t testing.TB, x *Index, s Spec) Strategy {
	t.Helper()
	st, err := New(x, s)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func mustNext(t testing.TB, s Strategy, client string, at int64) Pick {
	t.Helper()
	p, err := s.Next(t.Context(), Request{Client: client, Now: time.Unix(at, 0)})
	if err != nil {
		t.Fatalf("%s: %v", s.Name(), err)
	}
	return p
}

// allSpecs is one of every kind, and of every variant that answers otherwise.
func allSpecs() []Spec {
	var out []Spec
	for _, k := range Kinds() {
		out = append(out, Spec{Kind: k, Seed: 3})
	}
	return append(out,
		Spec{Kind: KindEpistemic, Name: "m_epistemic"},
		Spec{Kind: KindPower, Name: "softmax", Noise: Softmax, Measure: Entropy},
		Spec{Kind: KindPower, Name: "softrank", Noise: Softrank, Measure: Entropy},
		Spec{Kind: KindWeighted, Name: "measures", Weights: []Weight{{"entropy", 1}, {"bald", 2}}},
		Spec{Kind: KindWeighted, Name: "far", Weights: []Weight{{"diversity", 1}}},
	)
}
