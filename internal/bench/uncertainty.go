package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
)

// benchUncertainty compares an inference with the passes of an uncertainty in
// one process, in turns: mirrored passes of the app's model, and dropout passes
// of a network that `voxloop model new` designs for the same images, with its
// random weights. Ratios are formed turn by turn.
func benchUncertainty(ctx context.Context, l *lab, t *table) error {
	program := filepath.Join(l.o.work, "passes")
	if err := command(ctx, "", nil, "go", "build", "-o", program, "./internal/bench/passes"); err != nil {
		return err
	}
	designed, err := l.designed(ctx)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		what, model string
		mc          int
	}{
		{"the app's model", filepath.Join("apps", "radiology", "models", "hippocampus"), 0},
		{"designed network", designed, 10},
	} {
		var rounds []map[string]any
		for range l.o.rounds {
			unlock, err := lock(l.o.lock)
			if err != nil {
				return err
			}
			r, err := passes(ctx, program, c.model, filepath.Join(l.o.shared, "data", "hippocampus", "images", "hippocampus_164.nii.gz"), c.mc)
			unlock()
			if err != nil {
				return err
			}
			rounds = append(rounds, r)
		}
		t.add("one inference, hippocampus case, "+c.what, "ms", "", 1, rounds, nil, "infer")
		t.add("8 mirrored passes beside one inference, "+c.what, "×", "≤ 8.2", 2, rounds, nil, "tta")
		if c.mc > 0 {
			t.add("10 dropout passes beside one inference, "+c.what, "×", "≤ 10.5", 2, rounds, nil, "mc")
		}
	}
	return nil
}

// designed returns a model folder with dropout, made once: the default network
// for three of the hippocampus cases on two cores.
func (l *lab) designed(ctx context.Context) (string, error) {
	dir, studies := filepath.Join(l.o.work, "dropout"), filepath.Join(l.o.work, "studies-dropout")
	if _, err := os.Stat(filepath.Join(dir, "manifest.yaml")); err == nil {
		return dir, nil
	}
	for _, name := range []string{"hippocampus_001.nii.gz", "hippocampus_003.nii.gz", "hippocampus_164.nii.gz"} {
		data := filepath.Join(l.o.shared, "data", "hippocampus")
		if err := copyFile(filepath.Join(data, "images", name), filepath.Join(studies, name)); err != nil {
			return "", err
		}
		if err := copyFile(filepath.Join(data, "labels", name), filepath.Join(studies, "labels", "final", name)); err != nil {
			return "", err
		}
	}
	return dir, command(ctx, "", nil, l.o.bin, "model", "new", "--studies", studies, "--labels", "anterior=1,posterior=2", "--cores", "2", "--out", dir)
}

// passes runs the program and returns milliseconds of an inference and medians
// of the ratios.
func passes(ctx context.Context, program, model, image string, mc int) (map[string]any, error) {
	b, err := exec.CommandContext(ctx, program, "-model", model, "-image", image, "-mc", strconv.Itoa(mc), "-runs", "15").Output() //nolint:gosec // built above
	if err != nil {
		return nil, fmt.Errorf("passes: %w", withStderr(err))
	}
	var seconds map[string][]float64
	if err := json.Unmarshal(b, &seconds); err != nil {
		return nil, err
	}
	out := map[string]any{"infer": 1000 * middle(seconds["infer"])}
	for _, kind := range []string{"tta", "mc"} {
		var ratios []float64
		for i, s := range seconds[kind] {
			ratios = append(ratios, s/seconds["infer"][i])
		}
		if len(ratios) > 0 {
			out[kind] = middle(ratios)
		}
	}
	return out, nil
}

func middle(v []float64) float64 { return slices.Sorted(slices.Values(v))[len(v)/2] }
