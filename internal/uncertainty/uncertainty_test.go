package uncertainty

import (
	"math"
	"slices"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
)

func near64(t testing.TB, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-6 {
		t.Errorf("%s: %g, want %g", what, got, want)
	}
}

// maps adds passes given as [pass][voxel][class].
func maps(t testing.TB, passes [][][]float32) *Maps {
	t.Helper()
	a, err := New(len(passes[0][0]), len(passes[0]))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range passes {
		n, err := a.Begin()
		if err != nil {
			t.Fatal(err)
		}
		columns := make([][]float32, len(p[0]))
		for c := range columns {
			for _, v := range p {
				columns[c] = append(columns[c], v[c])
			}
		}
		a.Add(n, 0, columns)
	}
	m, err := a.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMaps(t *testing.T) {
	m := maps(t, [][][]float32{
		{{1, 0}, {0.5, 0.5}, {0.9, 0.1}, {0, 1}},
		{{0, 1}, {0.5, 0.5}, {0.7, 0.3}, {0, 1}},
	})
	ln2 := math.Ln2
	h := func(p float64) float64 { return -p*math.Log(p) - (1-p)*math.Log(1-p) }
	for v, want := range []struct{ entropy, information, variance, margin float64 }{
		{ln2, ln2, 0.25, 1}, // both sure, and of opposite minds
		{ln2, 0, 0, 1},      // both unsure, and of one mind
		{h(0.8), h(0.8) - (h(0.9)+h(0.7))/2, 0.01, 1 - 0.6},
		{0, 0, 0, 0},
	} {
		near64(t, "entropy", float64(m.Entropy[v]), want.entropy)
		near64(t, "information", float64(m.Information[v]), want.information)
		near64(t, "variance", float64(m.Variance[v]), want.variance)
		near64(t, "margin", float64(m.Margin[v]), want.margin)
	}
	if string(m.Labels) != string([]uint8{0, 0, 0, 1}) || m.Passes != 2 {
		t.Errorf("labels %v", m.Labels)
	}
	// Class 1: pass 1 has voxel 3, pass 2 voxels 0 and 3: Dice 2/3.
	near64(t, "disagreement", m.Disagreement(), 1-2.0/3)
}

func TestDisagreementOfAbsentClasses(t *testing.T) {
	none := maps(t, [][][]float32{{{1, 0, 0}, {1, 0, 0}}, {{1, 0, 0}, {1, 0, 0}}})
	near64(t, "nobody sees foreground", none.Disagreement(), 0)
	one := maps(t, [][][]float32{{{0, 1, 0}, {1, 0, 0}}, {{1, 0, 0}, {1, 0, 0}}, {{0, 1, 0}, {1, 0, 0}}})
	near64(t, "one of three pairs agrees", one.Disagreement(), 1-(1.0/3+1)/2) // all agree that class 2 is not there
	near64(t, "a single pass", maps(t, [][][]float32{{{0, 1}, {1, 0}}}).Disagreement(), 0)
}

// Ranges of a pass may come in any order, and be longer than a tile.
func TestRanges(t *testing.T) {
	const n = 3*tile + 5
	whole, parts := make([]float32, n), make([]float32, n)
	for i := range whole {
		whole[i] = float32(i) / n
	}
	var got [2]*Maps
	for k := range got {
		a, err := New(2, n)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Begin(); err != nil {
			t.Fatal(err)
		}
		for i := range whole {
			parts[i] = 1 - whole[i]
		}
		if k == 0 {
			a.Add(0, 0, [][]float32{whole, parts})
		} else {
			for _, r := range [][2]int{{2000, n}, {0, 7}, {7, 2000}} {
				a.Add(0, r[0], [][]float32{whole[r[0]:r[1]], parts[r[0]:r[1]]})
			}
		}
		if got[k], err = a.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(got[0].Entropy, got[1].Entropy) || !slices.Equal(got[0].Labels, got[1].Labels) || !slices.Equal(got[0].Mean[1], got[1].Mean[1]) {
		t.Error("a pass added in parts differs from the whole")
	}
	near64(t, "mean", float64(got[1].Mean[0][n-1]), float64(n-1)/n)
}

func TestNoNumbers(t *testing.T) {
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1))} {
		a, _ := New(2, 3)
		_, _ = a.Begin()
		a.Add(0, 0, [][]float32{{1, bad, 0}, {0, 0, 1}})
		if m, err := a.Finish(t.Context()); err != nil || m.Finite {
			t.Errorf("%g is finite: %v", bad, err)
		}
	}
	if m := maps(t, [][][]float32{{{1, 0}, {0.5, 0.5}}}); !m.Finite {
		t.Error("numbers are not finite")
	}
}

func TestAccumulatorRefuses(t *testing.T) {
	if _, err := New(1, 5); fault.KindOf(err) != fault.Invalid {
		t.Errorf("one class: %v", err)
	}
	a, _ := New(2, 1)
	if _, err := a.Finish(t.Context()); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no pass: %v", err)
	}
	for range MaxPasses {
		if _, err := a.Begin(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Begin(); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a pass too many: %v", err)
	}
}

func TestAggregate(t *testing.T) {
	size := [3]int{1, 4, 5}
	labels := []uint8{
		0, 0, 0, 0, 0,
		0, 1, 0, 0, 0,
		0, 0, 0, 0, 2,
		0, 0, 0, 0, 0,
	}
	m := []float32{
		1, 1, 1, 0, 0,
		1, 4, 1, 0, 0,
		1, 1, 1, 0, 9,
		0, 0, 0, 7, 8,
	}
	for _, tt := range []struct {
		o    AggregateOptions
		want float64
	}{
		{AggregateOptions{}, (8.0 + 17) / 9}, // the 1 and four beside it, the 2 and three beside it
		{AggregateOptions{How: PerClass}, 17.0 / 4},
		{AggregateOptions{How: Whole}, 36.0 / 20},
		{AggregateOptions{How: TopShare, Top: 0.1}, 8.5},
		{AggregateOptions{How: TopShare, Top: 0.0001}, 9},
		{AggregateOptions{How: Patch, Patch: [3]int{1, 2, 2}}, 24.0 / 4},
		{AggregateOptions{How: Patch, Patch: [3]int{9, 9, 2}}, 24.0 / 8},
		{AggregateOptions{How: Foreground, Border: 9}, 36.0 / 20},
	} {
		got, fell, err := Aggregate(m, labels, size, tt.o)
		if err != nil || fell {
			t.Errorf("%+v: %v, fell back: %v", tt.o, err, fell)
		}
		near64(t, string(tt.o.How), got, tt.want)
	}
	got, fell, err := Aggregate(m, make([]uint8, 20), size, AggregateOptions{Top: 0.1})
	if err != nil || !fell {
		t.Errorf("no foreground: %v, fell back: %v", err, fell)
	}
	near64(t, "no foreground", got, 8.5)
	for _, o := range []AggregateOptions{{How: "median"}, {Top: 1.5}, {Top: -1}} {
		if _, _, err := Aggregate(m, labels, size, o); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestRegions(t *testing.T) {
	size := [3]int{2, 3, 4}
	m := make([]float32, 24)
	set := func(a, b, c int, v float32) { m[(a*3+b)*4+c] = v }
	set(0, 0, 0, 0.5)
	set(1, 1, 1, 0.7) // touches the first one across a corner
	set(0, 2, 3, 0.9)
	set(1, 0, 3, 0.2) // below
	r, err := Regions(t.Context(), m, size, 2, RegionOptions{Above: 0.3})
	if err != nil || len(r) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if r[0].Min != [3]int{0, 0, 0} || r[0].Max != [3]int{1, 1, 1} || r[0].Voxels != 2 || r[0].Volume != 4 || r[0].Peak != [3]int{1, 1, 1} {
		t.Errorf("%+v", r[0])
	}
	near64(t, "sum", r[0].Sum, 1.2)
	near64(t, "mean", r[0].Mean, 0.6)
	if r[1].Peak != [3]int{0, 2, 3} {
		t.Errorf("%+v", r[1])
	}
	if r, _ := Regions(t.Context(), m, size, 2, RegionOptions{Above: 0.3, MinVolume: 3}); len(r) != 1 {
		t.Errorf("small regions stay: %+v", r)
	}
	if r, _ := Regions(t.Context(), m, size, 2, RegionOptions{Above: 0.3, Most: 1}); len(r) != 1 || r[0].Voxels != 2 {
		t.Errorf("%+v", r)
	}
}
