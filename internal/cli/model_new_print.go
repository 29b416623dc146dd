package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/voxloop/voxloop/trainers/design"
)

// modelReport is what `voxloop model new --json` prints.
type modelReport struct {
	Model       string              `json:"model"`
	LabelsFrom  string              `json:"labels_from"`
	Skipped     []design.Skipped    `json:"skipped,omitempty"`
	Plan        *design.Plan        `json:"plan"`
	Fingerprint *design.Fingerprint `json:"fingerprint"`
}

func (r *modelReport) print(out io.Writer, f modelNewFlags) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fp, p := r.Fingerprint, r.Plan
	fmt.Fprintf(w, "cases\t%d, %d left out\n", len(fp.Cases), len(r.Skipped))
	for _, s := range r.Skipped {
		fmt.Fprintf(w, "\t%s: %s\n", s.ID, s.Reason)
	}
	fmt.Fprintf(w, "images\t%s voxels (median), %s mm, %s\n", joined(fp.Size[:], "×"), joined(fp.Spacing[:], " × "), kindText(fp))
	for _, c := range fp.Classes {
		fmt.Fprintf(w, "class %d\t%s, in %d cases, %.3g ml (median)\n", c.Value, c.Name, c.Cases, c.Volume)
	}
	fmt.Fprintf(w, "names from\t%s\n", r.LabelsFrom)
	fmt.Fprintf(w, "network\t%s, %d-D, features %s, %d parameters\n", p.Network.Type, p.Network.Dimension, featuresText(p.Network), p.Cost.Parameters)
	fmt.Fprintf(w, "patch\t%s, batch %d\n", strings.ReplaceAll(strings.Trim(fmt.Sprint(p.Patch), "[]"), " ", "×"), p.Batch)
	fmt.Fprintf(w, "a step\tabout %s on %d cores (budget %s), %.2g GB (budget %.2g GB)\n",
		p.Cost.Step.Round(time.Millisecond), p.Budget.Cores, p.Budget.Step.Round(time.Millisecond), float64(p.Cost.Memory)/1e9, float64(p.Budget.Memory)/1e9)
	for _, n := range p.Notes {
		fmt.Fprintf(w, "note\t%s\n", n)
	}
	fmt.Fprintf(w, "model\t%s, random weights\n", r.Model)
	batch := ""
	if p.Batch != 2 {
		batch = fmt.Sprintf(" --set batch=%d", p.Batch)
	}
	fmt.Fprintf(w, "next\tvoxloop train --studies %s --model %s --scratch --minutes %g%s --out DIR\n", f.studies, f.out, p.Budget.Minutes, batch)
	return w.Flush()
}

func kindText(f *design.Fingerprint) string {
	if f.CT {
		return "CT"
	}
	return "normalised one by one"
}

func featuresText(n design.Network) string {
	var words []string
	for _, s := range n.Stages {
		words = append(words, fmt.Sprint(s.Features))
	}
	return strings.Join(words, "-")
}

func joined(v []float64, with string) string {
	var words []string
	for _, x := range v {
		words = append(words, fmt.Sprintf("%.4g", x))
	}
	return strings.Join(words, with)
}
