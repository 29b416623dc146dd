package gate

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// The p-values are SciPy's (1.17, alternative="greater"; the tied ones also by
// going through all signs).
func TestWilcoxon(t *testing.T) {
	long := make([]float64, 60)
	for i := range long {
		long[i] = float64((i*37)%101-40)/100 + 0.003*float64(i)
	}
	for _, tt := range []struct {
		d    []float64
		w, p float64
		n    int
	}{
		{[]float64{0.1, 0.2, 0.3, 0.4, 0.5}, 15, 0.03125, 5},
		{[]float64{0.3, -0.1, 0.2, 0.5, -0.05, 0.7, 0.01}, 23, 0.078125, 7},
		{[]float64{1, 1, -1, 2, 2, -2, 3, 0, 0}, 21, 0.1640625, 7},
		{[]float64{-1, -2, -3}, 0, 1, 3},
		{[]float64{0, 0}, 0, 1, 0},
		{nil, 0, 1, 0},
		{long, 1443, 5.153568578273742e-05, 60},
	} {
		w, p, n := wilcoxon(tt.d)
		if w != tt.w || math.Abs(p-tt.p) > 1e-9*tt.p || n != tt.n {
			t.Errorf("%v: W %g p %.12g n %d, want %g %.12g %d", tt.d, w, p, n, tt.w, tt.p, tt.n)
		}
	}
}

func TestBootstrap(t *testing.T) {
	v := []float64{0.01, 0.02, 0.03, 0.04}
	m := bootstrap(v, 20_000, 1, 0)
	// All 4^4 draws: the 5th percentile of the mean is 0.0150, the 95th 0.0350.
	if lo, hi := quantile(m, 0.05), quantile(m, 0.95); math.Abs(lo-0.015) > 0.0011 || math.Abs(hi-0.035) > 0.0011 {
		t.Errorf("interval %g to %g", lo, hi)
	}
	if p := notAbove(m); p != 1.0/20_001 {
		t.Errorf("p = %g where no resample is ≤ 0", p)
	}
	if p := notAbove([]float64{-1, 0, 0, 2}); p != 4.0/5 {
		t.Errorf("p = %g", p)
	}
	if !slices.Equal(m, bootstrap(v, 20_000, 1, 0)) || slices.Equal(m, bootstrap(v, 20_000, 2, 0)) {
		t.Error("the seed does not decide the draw")
	}
}

func TestHoldOutIsAFunctionOfTheSubject(t *testing.T) {
	h := HoldOut{Share: 0.2, Salt: "s"}
	var all []string
	for i := range 2000 {
		all = append(all, fmt.Sprintf("subject-%d", i))
	}
	n := 0
	for _, s := range all {
		if h.Holds(s) {
			n++
		}
	}
	if n < 340 || n > 460 { // 400 ± 3.4 standard deviations
		t.Errorf("%d of 2000 subjects are held out", n)
	}
	other := 0
	for _, s := range all {
		if h.Holds(s) && (HoldOut{Share: 0.2, Salt: "t"}).Holds(s) {
			other++
		}
	}
	if other > n/2 {
		t.Errorf("another salt holds %d of the same %d", other, n)
	}
	for _, s := range all {
		if h.Holds(s) && !(HoldOut{Share: 0.3, Salt: "s"}).Holds(s) {
			t.Fatal("a larger share lets go of a subject")
		}
	}
}

func TestHoldOutFillsUpAndKeepsWhatItHad(t *testing.T) {
	h := HoldOut{Share: 1e-9}
	all := []string{"a", "b", "c", "d", "e", "f", "a"}
	first := h.Fill(all, 2, Known{})
	if len(first) != 2 {
		t.Fatalf("%v", first)
	}
	if got := h.Fill(all, 5, Known{}); len(got) != 3 {
		t.Errorf("%v: filling up must stop at half of the subjects", got)
	}
	more := append(slices.Clone(all), "g", "h", "i", "j", "k", "l", "m", "n")
	grown := h.Fill(more, 3, Known{Held: first})
	for _, s := range first {
		if !slices.Contains(grown, s) {
			t.Errorf("%s was let go: %v", s, grown)
		}
	}
	if len(grown) != 3 || !slices.IsSorted(grown) {
		t.Errorf("%v", grown)
	}
	var trained []string
	for _, s := range all {
		if !slices.Contains(first, s) {
			trained = append(trained, s)
		}
	}
	if got := h.Fill(all, 3, Known{Held: first, Trained: trained}); !slices.Equal(got, first) {
		t.Errorf("%v: a subject that was trained on was held out", got)
	}
	if got := h.Fill([]string{"z"}, 1, Known{Held: []string{"gone"}}); !slices.Equal(got, []string{"gone"}) {
		t.Errorf("%v: a subject that left must stay held out for its return", got)
	}
}

// cohort makes n cases with two classes whose Dice is base plus a pattern plus
// shift.
func cohort(n int, base, shift, hd float64) []Case {
	out := make([]Case, n)
	for i := range out {
		v := base + 0.01*float64(i%5)
		h := hd + 0.1*float64(i%3)
		out[i] = Case{ID: fmt.Sprintf("c%02d", i), Classes: map[string]Measure{
			"anterior": {Dice: v + shift, HD95: &h}, "posterior": {Dice: v - 0.02 + shift, HD95: &h},
		}}
	}
	return out
}

func TestJudge(t *testing.T) {
	current := cohort(10, 0.8, 0, 2)
	oneClassWorse := cohort(10, 0.8, 0.05, 2)
	for i := range oneClassWorse {
		m := oneClassWorse[i].Classes["posterior"]
		m.Dice -= 0.08
		oneClassWorse[i].Classes["posterior"] = m
	}
	failing := cohort(10, 0.8, 0.05, 2)
	failing[3] = Case{ID: "c03", Error: "no result"}
	oneFails := cohort(100, 0.8, 0.05, 2)
	for name := range oneFails[7].Classes {
		oneFails[7].Classes[name] = Measure{Dice: 0.05}
	}
	broken := make([]Case, 10)
	for i := range broken {
		broken[i] = Case{ID: fmt.Sprintf("c%02d", i), Error: "no finite numbers"}
	}
	fewBetter := cohort(10, 0.8, 0, 2)
	for i := range 4 {
		fewBetter[i] = cohort(10, 0.8, 0.002, 2)[i]
	}
	for name, tt := range map[string]struct {
		candidate, current []Case
		rule               string // that fails; "": passes
	}{
		"better":              {cohort(10, 0.8, 0.02, 2), current, ""},
		"equal":               {current, current, "mean better (bootstrap)"},
		"worse":               {cohort(10, 0.8, -0.02, 2), current, "no class worse"},
		"one class worse":     {oneClassWorse, current, "no class worse"},
		"surface worse":       {cohort(10, 0.8, 0.02, 4), current, "HD95 not worse"},
		"surface within":      {cohort(10, 0.8, 0.02, 2.4), current, ""},
		"a case fails":        {failing, current, "no class worse"},
		"one of many fails":   {oneFails, cohort(100, 0.8, 0, 2), "no more failures"},
		"does not run":        {broken, current, "the candidate runs"},
		"too few":             {cohort(4, 0.8, 0.1, 2), current, "enough cases"},
		"few cases better":    {fewBetter, current, "mean better (Wilcoxon)"},
		"no model in service": {cohort(10, 0.8, 0, 2), cohort(10, 0, 0, 2), ""},
		"no cases":            {nil, nil, "enough cases"},
	} {
		t.Run(name, func(t *testing.T) {
			v := Judge(tt.candidate, tt.current, [2]int64{}, Options{})
			if name == "one class worse" && (!strings.Contains(v.Reason, "posterior") || strings.Contains(v.Reason, "anterior") || v.Mean.Change <= 0) {
				t.Errorf("the class is not named, or the mean is not better: %s", v.Reason)
			}
			if v.Pass != (tt.rule == "") || tt.rule != "" && !strings.HasPrefix(v.Reason, tt.rule+":") {
				t.Errorf("pass %v: %s\n%+v", v.Pass, v.Reason, v.Checks)
			}
		})
	}
}

func TestJudgeNumbers(t *testing.T) {
	ece := func(v float64) *float64 { return &v }
	a, b := cohort(8, 0.8, 0.03, 1.5), cohort(8, 0.8, 0, 2)
	a[0].ECE, b[0].ECE = ece(0.1), ece(0.3)
	b = append(b, Case{ID: "only here"})
	v := Judge(a, b, [2]int64{}, Options{})
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-12 {
			t.Errorf("%s %g, want %g", what, got, want)
		}
	}
	near("change of the mean", v.Mean.Change, 0.03)
	near("lower end", v.Mean.Low, 0.03) // every case changed by the same
	near("class", v.Classes["posterior"].Change, 0.03)
	near("HD95", v.HD95.Change, -0.5)
	near("ECE", v.ECE.Change, -0.2)
	near("p", v.PWilcoxon, 1.0/256)
	if v.Mean.Cases != 8 || v.Classes["anterior"].Cases != 8 || v.HD95.Cases != 8 || v.ECE.Cases != 1 || v.Failures != [2]int{} {
		t.Errorf("%+v", v)
	}
	slices.Reverse(a)
	again := Judge(a, b, [2]int64{}, Options{})
	if again.Mean != v.Mean || again.PBootstrap != v.PBootstrap {
		t.Error("the order of the cases decides")
	}
}

// timed gives cases the seconds of their inference.
func timed(cases []Case, seconds ...float64) []Case {
	for i := range cases {
		cases[i].Seconds = seconds[i%len(seconds)]
	}
	return cases
}

func TestJudgeCost(t *testing.T) {
	const mib = 1 << 20
	for name, tt := range map[string]struct {
		candidate []Case
		bytes     [2]int64
		o         Options
		rule      string // that fails; "": passes
		slowdown  float64
	}{
		"as fast":            {timed(cohort(10, 0.8, 0.02, 2), 0.5), [2]int64{10 * mib, 10 * mib}, Options{}, "", 1},
		"twice as slow":      {timed(cohort(10, 0.8, 0.02, 2), 1), [2]int64{}, Options{}, "", 2},
		"slower":             {timed(cohort(10, 0.8, 0.02, 2), 1.01), [2]int64{}, Options{}, "not slower", 2.02},
		"slower, as allowed": {timed(cohort(10, 0.8, 0.02, 2), 1.01), [2]int64{}, Options{Slower: 3}, "", 2.02},
		"slow on one case":   {timed(cohort(10, 0.8, 0.02, 2), 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 60), [2]int64{}, Options{}, "", 1},
		"large":              {timed(cohort(10, 0.8, 0.02, 2), 0.5), [2]int64{21 * mib, 10 * mib}, Options{}, "not too much memory", 1},
		"large, as allowed":  {timed(cohort(10, 0.8, 0.02, 2), 0.5), [2]int64{21 * mib, 10 * mib}, Options{Memory: 2.5}, "", 1},
		"size not known":     {timed(cohort(10, 0.8, 0.02, 2), 0.5), [2]int64{21 * mib, 0}, Options{}, "", 1},
		"time not measured":  {cohort(10, 0.8, 0.02, 2), [2]int64{}, Options{}, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			v := Judge(tt.candidate, timed(cohort(10, 0.8, 0, 2), 0.5), tt.bytes, tt.o)
			if v.Pass != (tt.rule == "") || tt.rule != "" && !strings.HasPrefix(v.Reason, tt.rule+":") || math.Abs(v.Slowdown-tt.slowdown) > 1e-12 {
				t.Errorf("pass %v, slowdown %g: %s", v.Pass, v.Slowdown, v.Reason)
			}
			if TooMuch(tt.bytes, tt.o) != (tt.rule == "not too much memory") {
				t.Error("TooMuch says something else than the verdict")
			}
		})
	}
}
