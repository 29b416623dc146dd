package simulate

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/internal/fault"
)

// Report writes what a simulation found: cases.csv (every test image of every
// round), curves.csv (means with intervals), summary.json (all of the analysis,
// with the options) and report.html.
func Report(dir string, o Options, rounds []Round, a Analysis) error {
	rounds = slices.SortedFunc(slices.Values(rounds), byPlace)
	for name, write := range map[string]func(io.Writer) error{
		"cases.csv":  func(w io.Writer) error { return writeCases(w, rounds) },
		"curves.csv": func(w io.Writer) error { return writeCurves(w, a) },
		"summary.json": func(w io.Writer) error {
			e := json.NewEncoder(w)
			e.SetIndent("", "  ")
			return e.Encode(struct {
				Options  Options  `json:"options"`
				Analysis Analysis `json:"analysis"`
				Rounds   []Round  `json:"rounds"`
			}{o, a, rounds})
		},
		"report.html": func(w io.Writer) error { return writeHTML(w, o, rounds, a) },
	} {
		if err := atomicfile.Write(filepath.Join(dir, name), 0o640, write); err != nil {
			return fault.Wrap(fault.KindOf(err), err, "%s cannot be written", name)
		}
	}
	return nil
}

func writeCases(w io.Writer, rounds []Round) error {
	c := csv.NewWriter(w)
	_ = c.Write([]string{"strategy", "seed", "round", "labelled", "case", "name", "dice"}) // Flush reports errors
	for _, r := range rounds {
		for _, s := range r.Test {
			for _, name := range slices.Sorted(maps.Keys(s.Dice)) {
				_ = c.Write([]string{r.Strategy, strconv.Itoa(r.Seed), strconv.Itoa(r.Round), strconv.Itoa(r.Labelled), s.ID, name, decimals(s.Dice[name])})
			}
		}
	}
	c.Flush()
	return c.Error()
}

func writeCurves(w io.Writer, a Analysis) error {
	c := csv.NewWriter(w)
	_ = c.Write([]string{"strategy", "round", "labelled", "name", "dice", "low", "high", "seeds"})
	for _, curve := range a.Curves {
		for k, p := range curve.Points {
			line := func(name string, i Interval) {
				_ = c.Write([]string{
					curve.Strategy, strconv.Itoa(k), strconv.Itoa(p.Labelled), name, decimals(i.Mean), decimals(i.Low), decimals(i.High), strconv.Itoa(i.Values),
				})
			}
			line("mean", p.Dice)
			for _, name := range slices.Sorted(maps.Keys(p.Classes)) {
				line(name, p.Classes[name])
			}
		}
	}
	c.Flush()
	return c.Error()
}

func decimals(v float64) string { return strconv.FormatFloat(v, 'f', 6, 64) }

// Sentence says in words what a comparison found.
func (p Pair) Sentence() string {
	if p.Area.Values < 2 {
		return fmt.Sprintf("%s against %s: one seed tells nothing about differences", p.Strategy, p.Against)
	}
	numbers := fmt.Sprintf("mean Dice over the budget %+.4f (95 %% interval %+.4f to %+.4f)", p.Area.Mean, p.Area.Low, p.Area.High)
	switch p.Verdict {
	case "none":
		return fmt.Sprintf("%s against %s: no difference that these seeds can show; %s", p.Strategy, p.Against, numbers)
	default:
		return fmt.Sprintf("%s is %s than %s: %s; %s", p.Strategy, p.Verdict, p.Against, numbers, p.Saved)
	}
}

// String says it in words.
func (s Saving) String() string {
	more := ""
	if s.AtLeast {
		more = "at least "
	}
	if s.Labels < 0 {
		return fmt.Sprintf("%s%.1f labels more for the same Dice", more, -s.Labels)
	}
	return fmt.Sprintf("%s%.1f labels fewer for the same Dice", more, s.Labels)
}
