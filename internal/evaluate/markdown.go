package evaluate

import (
	"fmt"
	"io"
	"strings"
)

// shownCases is how many of the worst cases summary.md names.
const shownCases = 20

// WriteMarkdown writes the summary for reading.
func (s Summary) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Evaluation\n\n%d cases evaluated, %d skipped. Mean Dice of the cases: %s. Generalised Dice: %s.\n\n",
		s.Cases, len(s.Skipped), s.MeanDice.text(), s.GeneralisedDice.text())
	b.WriteString("## Classes\n\nMean over the cases [95 % bootstrap interval of the mean] (cases with a value).\n\n| label | name |")
	shown := 0
	for _, c := range columns {
		if c.title != "" {
			fmt.Fprintf(&b, " %s |", c.title)
			shown++
		}
	}
	fmt.Fprintf(&b, " lesions found |\n|---|---|%s---|\n", strings.Repeat("---|", shown))
	for _, c := range s.Classes {
		fmt.Fprintf(&b, "| %d | %s |", c.Label, cellSafe(c.Name))
		for _, col := range columns {
			if col.title != "" {
				fmt.Fprintf(&b, " %s |", c.Metrics[col.key].text())
			}
		}
		fmt.Fprintf(&b, " %d of %d, %d false |\n", c.Lesions.TP, c.Lesions.True, c.Lesions.FP)
	}
	s.Calibration.write(&b)
	s.writeCases(&b)
	o := s.Settings
	fmt.Fprintf(&b, "\n## How\n\nEmpty classes: %s. NSD within %g mm, by surface %s. Lesions: %d-connected, found from an overlap of %g (0: one voxel).\n"+
		"Weights of the classes in the generalised Dice: %s.\n"+
		"Bootstrap: %d resamplings of the cases, seed %d. Infinite distances are in no mean; summary.json counts them.\n",
		o.Empty, o.Tolerance, o.Surface, o.Connectivity, o.Overlap, o.Weight, o.Resamples, o.Seed)
	_, err := io.WriteString(w, b.String())
	return err
}

// write adds the section of the calibration, where there is one.
func (c *CalibrationSummary) write(b *strings.Builder) {
	if c == nil {
		return
	}
	fmt.Fprintf(b, "\n## Calibration\n\n%d cases have probabilities. Mean over the cases [95 %% bootstrap interval] (cases), and of all voxels together.\n\n", c.Cases)
	b.WriteString("| | by case | all voxels |\n|---|---|---|\n")
	pooled := PooledCalibration{}
	if c.Pooled != nil {
		pooled = *c.Pooled
	}
	for _, row := range []struct {
		name string
		s    Statistics
		all  float64
	}{{"ECE", c.ECE, pooled.ECE}, {"MCE", c.MCE, pooled.MCE}, {"Brier", c.Brier, pooled.Brier}, {"NLL", c.NLL, pooled.NLL}} {
		all := "–"
		if c.Pooled != nil {
			all = fmt.Sprintf("%.4g", row.all)
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", row.name, row.s.text(), all)
	}
	for _, k := range c.Skipped {
		fmt.Fprintf(b, "\n%s has none: %s\n", cellSafe(k.Case), cellSafe(k.Reason))
	}
}

func (s Summary) writeCases(b *strings.Builder) {
	b.WriteString("\n## Worst cases first\n\n| case | mean Dice | wrong voxels |\n|---|---|---|\n")
	for i, c := range s.Worst {
		if i == shownCases {
			fmt.Fprintf(b, "\n%d further cases are in summary.json.\n", len(s.Worst)-shownCases)
			break
		}
		dice := "–"
		if c.Dice != nil {
			dice = fmt.Sprintf("%.4f", *c.Dice)
		}
		fmt.Fprintf(b, "| %s | %s | %d |\n", cellSafe(c.Case), dice, c.Wrong)
	}
	if len(s.Skipped) == 0 {
		return
	}
	b.WriteString("\n## Skipped\n\n")
	for _, k := range s.Skipped {
		fmt.Fprintf(b, "- %s: %s\n", cellSafe(k.Case), cellSafe(k.Reason))
	}
}

// text tells mean, interval and number of cases.
func (s Statistics) text() string {
	if s.Mean == nil {
		return "–"
	}
	return fmt.Sprintf("%.4g [%.4g, %.4g] (%d)", *s.Mean, *s.Low, *s.High, s.N)
}

// cellSafe keeps a name from breaking a table.
func cellSafe(text string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ", "\r", " ").Replace(text)
}
