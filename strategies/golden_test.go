package strategies

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/testkit"
)

// number reads a JSON number or one of the texts NaN, Inf, -Inf; null is 0.
type number float64

func (n *number) UnmarshalJSON(b []byte) error {
	s := strings.Trim(string(b), `"`)
	if s == "null" {
		*n = 0
		return nil
	}
	v, err := strconv.ParseFloat(s, 64)
	*n = number(v)
	return err
}

type goldenCase struct {
	Name, Operation string
	Parameters      struct {
		Labelled     []int
		K            int
		First        string
		Uniforms     []float64
		Beta         number
		Scores       []number
		Gumbel       []number
		Fraction     float64    `json:"stratified_fraction"`
		ClassScores  [][]number `json:"class_scores"`
		Overall      []number   `json:"overall_scores"`
		ClassGumbel  [][]number `json:"class_gumbel"`
		OverallNoise []number   `json:"overall_gumbel"`
	}
	Inputs struct {
		Features struct{ File string }
	}
	Expected struct {
		Selected struct{ Value []int }
		ClassOf  struct{ Value []int }    `json:"chosen_for_class"`
		Radii    struct{ Value []number } `json:"radius_after_each"`
		Noisy    struct{ Value []number } `json:"noisy_scores"`
	}
	Tolerance struct{ Atol, Rtol float64 }
}

// goldenCases reads golden/numerics/acquisition, written by its make script
// with NumPy from the definitions in its cases.json.
func goldenCases(t *testing.T, dir string) []goldenCase {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []json.RawMessage }
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	var cases []goldenCase
	for _, raw := range file.Cases {
		var head struct{ Name, Operation string }
		if err := json.Unmarshal(raw, &head); err != nil {
			t.Fatal(err)
		}
		for _, op := range []string{"core-set", "k-means++", "acquisition with given", "class-stratified"} {
			if strings.Contains(head.Operation, op) {
				var c goldenCase
				if err := json.Unmarshal(raw, &c); err != nil {
					t.Fatalf("%s: %v", head.Name, err)
				}
				cases = append(cases, c)
			}
		}
	}
	return cases
}

func TestSelectionGolden(t *testing.T) {
	dir := testkit.Shared(t, "golden", "numerics", "acquisition")
	cases := goldenCases(t, dir)
	if len(cases) != 23 {
		t.Fatalf("%d selection cases, want 23", len(cases))
	}
	var table strings.Builder
	for _, c := range cases {
		chosen, classOf, diff := runGolden(t, dir, c)
		ok := slices.Equal(chosen, c.Expected.Selected.Value) && slices.Equal(classOf, c.Expected.ClassOf.Value) && diff <= 1
		fmt.Fprintf(&table, "%-28s %-52s %2d chosen  largest difference %.2g of the tolerance  %v\n", c.Name, c.Operation, len(chosen), diff, ok)
		if !ok {
			t.Errorf("%s: chosen %v for %v, difference %g of the tolerance; want %v for %v", c.Name, chosen, classOf, diff,
				c.Expected.Selected.Value, c.Expected.ClassOf.Value)
		}
	}
	t.Logf("selection operations of acquisition/cases.json:\n%s", table.String())
}

// runGolden runs one case; diff is the largest difference of its numbers in
// units of the tolerance.
func runGolden(t *testing.T, dir string, c goldenCase) (chosen, classOf []int, diff float64) {
	t.Helper()
	p := c.Parameters
	var rows [][]float32
	if c.Inputs.Features.File != "" {
		a := testkit.ReadNPY(t, filepath.Join(dir, c.Inputs.Features.File))
		v := a.F32(t)
		for i := range a.Shape[0] {
			rows = append(rows, v[i*a.Shape[1]:(i+1)*a.Shape[1]])
		}
	}
	compare := func(got []float64, want []number) {
		if len(got) != len(want) {
			t.Fatalf("%s: %d numbers, want %d", c.Name, len(got), len(want))
		}
		for i, g := range got {
			w := float64(want[i])
			if g == w || math.IsNaN(g) && math.IsNaN(w) {
				continue
			}
			d := math.Abs(g-w) / (c.Tolerance.Atol + c.Tolerance.Rtol*math.Abs(w))
			if math.IsNaN(d) {
				d = math.Inf(1)
			}
			diff = max(diff, d)
		}
	}
	switch {
	case strings.HasPrefix(c.Operation, "core-set"):
		// The labelled points take part at distance 0 and are never the farthest.
		var centres, of [][]float32
		var places []int
		for i, r := range rows {
			if slices.Contains(p.Labelled, i) {
				centres = append(centres, r)
			} else {
				of, places = append(of, r), append(places, i)
			}
		}
		got, radii := kCentre(of, centres, p.K, 0)
		for _, i := range got {
			chosen = append(chosen, places[i])
		}
		compare(radii, c.Expected.Radii.Value)
	case strings.HasPrefix(c.Operation, "k-means++"):
		chosen = plusPlus(rows, p.K, p.First == "uniform", p.Uniforms)
	case strings.HasPrefix(c.Operation, "class-stratified"):
		chosen, classOf = stratifiedGolden(c)
	default:
		scores := make([]float64, len(p.Scores))
		for i, s := range p.Scores {
			scores[i] = float64(s)
		}
		kind := Noise(strings.Fields(c.Operation)[0])
		got := noisy(kind, scores, func(i int) float64 { return float64(p.Gumbel[i]) }, float64(p.Beta))
		compare(got, c.Expected.Noisy.Value)
		chosen = largest(len(got), p.K, func(i int) float64 { return got[i] })
	}
	return chosen, classOf, diff
}

func stratifiedGolden(c goldenCase) (chosen, classOf []int) {
	p := c.Parameters
	value := func(s, g number) float64 {
		if p.Beta == 0 { // no noise: the scores themselves
			return float64(s)
		}
		return powered(float64(s), float64(p.Beta), float64(g))
	}
	var overall []float64
	classes := make([][]ranked, len(p.ClassScores[0])-1) // without the background
	for i, s := range p.Overall {
		overall = append(overall, value(s, p.OverallNoise[i]))
		for c := range classes {
			if s := p.ClassScores[i][c+1]; !math.IsNaN(float64(s)) {
				classes[c] = append(classes[c], ranked{i, value(s, p.ClassGumbel[i][c+1])})
			}
		}
	}
	chosen, classOf = stratified(classes, overall, p.K, p.Fraction)
	for r, c := range classOf {
		if c >= 0 {
			classOf[r] = c + 1
		}
	}
	return chosen, classOf
}
