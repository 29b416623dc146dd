package evaluate

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// WriteTable writes the trials for reading: per class the state as predicted,
// then a line per rule.
func (a *Ablation) WriteTable(w io.Writer) error {
	var b strings.Builder
	for _, c := range a.Classes {
		fmt.Fprintf(&b, "label %d", c.Label)
		if c.Name != "" {
			fmt.Fprintf(&b, " (%s)", c.Name)
		}
		fmt.Fprintf(&b, ": Dice %s, HD95 %s mm\n", c.Dice.text(), c.HD95.text())
		for _, t := range c.Trials {
			fmt.Fprintf(&b, "  %s %-9s  Dice %s  HD95 %s mm  better %d, worse %d, same %d\n",
				padded(t.Name, 34), t.Verdict, t.Dice.change(), t.HD95.change(), t.Better, t.Worse, t.Same)
		}
		switch n := c.Dice.N; {
		case n < a.MinCases:
			fmt.Fprintf(&b, "  no verdict: %d cases; at least %d are needed\n\n", n, a.MinCases)
		case c.Best == "":
			b.WriteString("  no rule helps\n\n")
		default:
			fmt.Fprintf(&b, "  best: %s\n\n", c.Best)
		}
	}
	fmt.Fprintf(&b, "%d cases, %d skipped; mean differences with their 95 %% bootstrap intervals\n", a.Cases, len(a.Skipped))
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteJSON writes the ablation as indented JSON.
func (a *Ablation) WriteJSON(w io.Writer) error { return writeJSON(w, a) }

// change tells a mean difference with its interval.
func (s Statistics) change() string {
	if s.Mean == nil {
		return "–"
	}
	return fmt.Sprintf("%+.4f [%+.4f, %+.4f]", *s.Mean, *s.Low, *s.High)
}

func padded(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
