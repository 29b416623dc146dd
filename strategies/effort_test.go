package strategies

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestFitEffort: the model finds the law that times were drawn from, although a
// tenth of them were interrupted.
func TestFitEffort(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	law := Effort{A: math.Log(60), B: 0.5, C: 0.8}
	var samples []EffortSample
	for i := range 300 {
		s := EffortSample{Predicted: 20000 * rng.Float64(), Uncertain: 5000 * rng.Float64()}
		s.Seconds = math.Exp(law.log(s) + 0.1*rng.NormFloat64())
		if i%10 == 0 {
			s.Seconds *= 20
		}
		samples = append(samples, s)
	}
	got, ok := FitEffort(samples, 12)
	if !ok || got.Samples != 300 {
		t.Fatalf("%+v, %v", got, ok)
	}
	for name, d := range map[string]float64{"a": got.A - law.A, "b": got.B - law.B, "c": got.C - law.C} {
		if math.Abs(d) > 0.08 {
			t.Errorf("%s is off by %.3f", name, d)
		}
	}
	if got.Spread < 0.08 || got.Spread > 0.16 {
		t.Errorf("spread %.3f, want about 0.1", got.Spread)
	}
	if s := got.Seconds(EffortSample{Predicted: 1e30}); s > 2*got.max {
		t.Errorf("%g seconds for an absurd volume, more than twice the longest", s)
	}
	if _, ok := FitEffort(samples[:11], 12); ok {
		t.Error("11 samples were enough for a least of 12")
	}
	same := slices.Repeat([]EffortSample{{Predicted: 5, Uncertain: 5, Seconds: 30}}, 12)
	if e, ok := FitEffort(same, 12); !ok || math.Abs(e.Seconds(same[0])-30) > 0.01 {
		t.Errorf("equal samples: %+v, %v", e, ok)
	}
}

// TestCostAware: with times, short cases with the same score come first;
// without, the score decides and the pick says why.
func TestCostAware(t *testing.T) {
	var all []*Observation
	for i := range 30 {
		all = append(all, &Observation{Scores: entropyOf(0.5 + 0.001*float64(i)), Predicted: 1000 * float64(i), Uncertain: 10})
	}
	x := looked(t, Options{ColdStart: -1}, all...)
	s := mustNew(t, x, Spec{Kind: KindCost}).(*query)
	if p := mustNext(t, s, "", 1000); p.ID != "29" || !strings.Contains(p.Explanation.Why, "0 annotation times are recorded, 12 are needed") {
		t.Errorf("%s: %q", p.ID, p.Explanation.Why)
	}
	for i := 10; i < 25; i++ {
		x.Spent(all[i].Image, 60*(1+float64(i)))
		x.Handle(Event{ID: all[i].Image, Labelled: true})
	}
	x.Spent("0", -5)
	x.Spent("unknown", 5)
	s.plan = nil
	p := mustNext(t, s, "", 1000)
	// Predictions stop at half the shortest time, 330 s: case 4 is the last there.
	if p.ID != "4" || len(p.Explanation.Parts) < 2 || p.Explanation.Parts[1].Name != "predicted_seconds" {
		t.Fatalf("%s: %+v, want the shortest case", p.ID, p.Explanation)
	}
	seconds := p.Explanation.Parts[1].Value
	if seconds != 330 || p.Explanation.Score != 0.504/seconds {
		t.Errorf("%.0f s predicted, score %g", seconds, p.Explanation.Score)
	}
}

func TestEffortsAreBounded(t *testing.T) {
	var e efforts
	for i := range mostEfforts + 10 {
		for range 2 {
			e.put(caseID(i), EffortSample{Seconds: float64(i)})
		}
	}
	if l := e.list(); len(l) != mostEfforts || l[0].Seconds != mostEfforts || l[10].Seconds != 10 || len(e.at) != mostEfforts {
		t.Errorf("%d samples of %d images, first %v", len(l), len(e.at), l[0])
	}
	e.put(caseID(10), EffortSample{Seconds: 7})
	if l := e.list(); len(l) != mostEfforts || l[10].Seconds != 7 {
		t.Errorf("a known image: %v, want 7 s in its place", l[10])
	}
}
