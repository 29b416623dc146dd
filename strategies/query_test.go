package strategies

import (
	"cmp"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

// TestEveryKindHandsOutAll: whatever the kind, each image is handed out once
// before any comes again, flagged ones last, and with an explanation.
func TestEveryKindHandsOutAll(t *testing.T) {
	const n = 60
	for _, spec := range allSpecs() {
		for _, coldStart := range []int{-1, 100} {
			x := testIndex(t, Options{Lease: time.Hour, ColdStart: coldStart}, n, 7)
			bad := testObservation(caseID(4), "v1")
			bad.Corrupt = "broken"
			if err := x.Put(bad); err != nil {
				t.Fatal(err)
			}
			s := mustNew(t, x, spec)
			seen := map[string]bool{}
			for i := range n {
				p := mustNext(t, s, "a", 1000)
				if seen[p.ID] {
					t.Fatalf("%s: %s came twice", s.Name(), p.ID)
				}
				seen[p.ID] = true
				if (p.ID == caseID(4)) != (i == n-1) {
					t.Errorf("%s: pick %d is %s; the corrupt image must come last", s.Name(), i, p.ID)
				}
				e := p.Explanation
				if e.Why == "" || e.Strategy != s.Name() || e.Version != "v1" || e.InService != "" {
					t.Errorf("%s: explanation %+v", s.Name(), e)
				}
				if _, err := json.Marshal(p.Extra); err != nil {
					t.Fatalf("%s: %v", s.Name(), err)
				}
			}
			if _, err := s.Next(t.Context(), Request{Client: "b", Now: time.Unix(1000, 0)}); !errors.Is(err, ErrNone) {
				t.Errorf("%s: another client got %v, want none", s.Name(), err)
			}
		}
	}
}

// TestRepeatable: the same seed and events give the same picks; another seed,
// for kinds that draw, others.
func TestRepeatable(t *testing.T) {
	run := func(spec Spec, control float64) (ids []string) {
		x := testIndex(t, Options{Lease: time.Hour, Control: control, Seed: 9}, 80, 6)
		s := mustNew(t, x, spec)
		for i := range 20 {
			p := mustNext(t, s, "a", int64(1000+i))
			ids = append(ids, p.ID)
			if i == 10 {
				x.Handle(Event{ID: p.ID, Labelled: true})
				x.Serve("m", "v2", 1)
			}
		}
		picks, err := Batch(t.Context(), s, Request{Client: "b", Now: time.Unix(1100, 0)}, 5)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range picks {
			ids = append(ids, p.ID)
		}
		return ids
	}
	draws := []Kind{KindForeground, KindPower, KindClasp, KindKMeans}
	for _, spec := range allSpecs() {
		a, b := run(spec, 0.2), run(spec, 0.2)
		if !slices.Equal(a, b) {
			t.Errorf("%s: same seed, other picks: %v, %v", spec.withDefaults().Name, a, b)
		}
		if slices.Contains(draws, spec.Kind) {
			spec.Seed += 100
			if c := run(spec, 0); slices.Equal(run(Spec{Kind: spec.Kind, Seed: 3}, 0), c) {
				t.Errorf("%s: another seed, same picks", spec.Kind)
			}
		}
	}
}

// TestControlShare: the share of random picks lies within the binomial's
// bounds, they are marked, and are spread over all images.
func TestControlShare(t *testing.T) {
	const n, share = 6000, 0.2
	x := testIndex(t, Options{Control: share, Lease: time.Hour, PerClient: n + 1}, n, 6)
	s := mustNew(t, x, Spec{Kind: KindEntropy, Seed: 5})
	control, sum := 0, 0
	for range n / 2 {
		p := mustNext(t, s, "a", 1000)
		if p.Explanation.Control {
			control++
			i, err := strconv.Atoi(p.ID[len("case_"):])
			if err != nil {
				t.Fatal(err)
			}
			sum += i
			if v, _ := p.Extra.Sub("explanation").Get("control"); v != true {
				t.Fatalf("the pick's explanation does not say control: %v", p.Extra)
			}
		}
	}
	sigma := math.Sqrt(n / 2 * share * (1 - share))
	if d := math.Abs(float64(control) - n/2*share); d > 4*sigma {
		t.Errorf("%d control picks of %d, want %.0f ± %.0f", control, n/2, n/2*share, 4*sigma)
	}
	// The mean place of uniform picks is (n-1)/2 with this deviation.
	if d := math.Abs(float64(sum)/float64(control) - n/2); d > 4*n/math.Sqrt(12*float64(control)) {
		t.Errorf("control picks are at %d on average, want %d", sum/control, n/2)
	}
}

// TestRankingOrder: one by one, a direct kind follows its measure exactly.
func TestRankingOrder(t *testing.T) {
	for _, kind := range []Kind{KindEntropy, KindBALD, KindVariance, KindMargin} {
		x := testIndex(t, Options{ColdStart: -1, Lease: time.Hour}, 50, 0)
		s := mustNew(t, x, Spec{Kind: kind})
		ids := make([]string, 50)
		for i := range ids {
			ids[i] = caseID(i)
		}
		measure := Spec{Kind: kind}.withDefaults().Measure
		slices.SortFunc(ids, func(a, b string) int {
			return cmp.Compare(testObservation(b, "v1").Scores[measure], testObservation(a, "v1").Scores[measure])
		})
		for i, want := range ids {
			if p := mustNext(t, s, "a", 1000); p.ID != want {
				t.Fatalf("%s: pick %d is %s, want %s", kind, i, p.ID, want)
			}
		}
	}
}

func TestSpecRefused(t *testing.T) {
	for want, s := range map[string]Spec{
		"is none of":             {Kind: "guess"},
		`measure "doubt"`:        {Kind: KindPower, Measure: "doubt"},
		"must be one of":         {Kind: KindTTA, Measure: Entropy},
		"noise":                  {Kind: KindPower, Noise: "pink"},
		"beta -1":                {Kind: KindPower, Beta: -1},
		"growth 0.5":             {Kind: KindClasp, Growth: 0.5},
		"shares":                 {Kind: KindClasp, Stratified: 1.5},
		"weights of":             {Kind: KindWeighted, Weights: []Weight{{"luck", 1}}},
		"is negative":            {Kind: KindWeighted, Weights: []Weight{{"entropy", -1}}},
		"all weights are 0":      {Kind: KindWeighted, Weights: []Weight{{"entropy", 0}}},
		"must be at least 1":     {Kind: KindCoreset, Subset: -1},
		"must be at most":        {Kind: KindKMeans, Batch: 1 << 40},
		`diversity "hue"`:        {Kind: KindEntropy, Diversity: "hue"},
		"beta NaN":               {Kind: KindPower, Beta: math.NaN()},
		"weight NaN of entropy ": {Kind: KindWeighted, Weights: []Weight{{"entropy", math.NaN()}}},
	} {
		_, err := New(NewIndex(), s)
		if err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want an Invalid fault with %q", s, err, want)
		}
	}
	for _, o := range []Options{{Lease: -1}, {Control: 1}, {Control: -0.1}, {Control: math.NaN()}, {PerClient: -2}} {
		if err := o.Validate(); fault.KindOf(err) != fault.Invalid || err == nil {
			t.Errorf("%+v: %v, want an Invalid fault", o, err)
		}
	}
}

func TestNeedsAndParameters(t *testing.T) {
	for _, tt := range []struct {
		spec Spec
		want []Passes
	}{
		{Spec{Kind: KindEntropy}, nil},
		{Spec{Kind: KindBALD}, []Passes{Dropout, EnsemblePass}},
		{Spec{Kind: KindTTA}, []Passes{Augmented}},
		{Spec{Kind: KindVariance}, []Passes{Augmented, Dropout, EnsemblePass}},
		{Spec{Kind: KindPower, Measure: JS}, []Passes{Augmented}},
		{Spec{Kind: KindWeighted, Weights: []Weight{{"entropy", 1}, {"bald", 1}}}, []Passes{Dropout, EnsemblePass}},
		{Spec{Kind: KindCoreset}, nil},
	} {
		if got := tt.spec.Needs().Passes; !slices.Equal(got, tt.want) {
			t.Errorf("%s needs %v, want %v", tt.spec.Kind, got, tt.want)
		}
	}
	s := mustNew(t, NewIndex(), Spec{Kind: KindClasp, Seed: 4})
	got, err := ordered.Marshal(s.(Configured).Parameters())
	if err != nil || string(got) != `{"kind":"clasp","seed":4,"beta":1,"growth":2,"beta_most":64,"stratified":0.6666666666666666,"batch":8}` {
		t.Errorf("parameters %s, %v", got, err)
	}
}

// TestEpistemic: the answer has what MONAI Label's strategy of that name adds.
func TestEpistemic(t *testing.T) {
	x := testIndex(t, Options{ColdStart: -1}, 3, 0)
	x.Handle(Event{ID: caseID(0), Served: map[string]int64{"m_epistemic": 900}})
	for _, i := range []int{1, 2} {
		x.Handle(Event{ID: caseID(i), Labelled: true})
	}
	p := mustNext(t, mustNew(t, x, Spec{Kind: KindEpistemic, Name: "m_epistemic"}), "a", 1000)
	got, err := ordered.Marshal(p.Extra.Sub("epistemic_entropy"))
	want, _ := ordered.Marshal(ordered.Of("score", testObservation(caseID(0), "v1").Scores[Entropy], "ts", int64(100)))
	if err != nil || string(got) != string(want) || p.Extra.Keys()[0] != "epistemic_entropy" {
		t.Errorf("%s, want %s first: %v", got, want, p.Extra.Keys())
	}
}
