package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// comparison is what internal/imaging/bench/compare.py says of one section.
type comparison struct {
	Section   string               `json:"section"`
	Ours      []float64            `json:"voxloop_seconds"`
	Reference map[string][]float64 `json:"reference_seconds"`
	Memory    float64              `json:"peak_of_decoded"`
	Target    float64              `json:"target"`
}

// benchImaging runs the comparisons of the imaging packages with Python's, in
// the reference's environment.
func benchImaging(ctx context.Context, l *lab, t *table) error {
	unlock, err := lock(l.o.lock)
	if err != nil {
		return err
	}
	defer unlock()
	program := filepath.Join(l.o.work, "imaging-bench")
	if err := command(ctx, "", nil, "go", "build", "-o", program, "./internal/imaging/bench"); err != nil {
		return err
	}
	out := filepath.Join(l.o.work, "imaging.json")
	err = command(ctx, "", nil, l.python, filepath.Join("internal", "imaging", "bench", "compare.py"),
		"--voxloop", program, "--work", filepath.Join(l.o.work, "imaging"), "--json", out)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(out) //nolint:gosec // written by the comparison just now
	if err != nil {
		return err
	}
	var all []comparison
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	for _, c := range all {
		names := make([]string, 0, len(c.Reference))
		for name := range c.Reference {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			what := fmt.Sprintf("imaging `%s` beside %s", c.Section, name)
			if c.Memory > 0 {
				what += fmt.Sprintf(" (peak memory %.2f × the decoded input)", c.Memory)
			}
			t.rows = append(t.rows, row{what: what, unit: "s", goal: fmt.Sprintf("ratio ≥ %g", c.Target), ours: c.Ours, ref: c.Reference[name], digits: 3})
		}
	}
	return nil
}
