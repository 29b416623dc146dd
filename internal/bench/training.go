package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
)

// stepCase is one network and batch whose training step is timed in both
// engines.
type stepCase struct {
	what    string
	model   func(l *lab) string // the network as ONNX
	network string              // the same one: arguments of MONAI's UNet
	shape   string
	goal    string
}

func goldenUNet(l *lab) string {
	return filepath.Join(l.o.shared, "golden", "networks", "unet_res2_prelu", "model.onnx")
}

func benchUNet(l *lab) string { return filepath.Join(l.o.work, "onnx", "unet_hippo.onnx") }

const (
	golden = `{"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [8, 16, 24, 32], "strides": [2, 2, 2], "num_res_units": 2}`
	unet16 = `{"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [16, 32, 64, 128, 256], "strides": [2, 2, 2, 2], "num_res_units": 2, "norm": "instance"}`
)

var stepCases = []stepCase{
	{"143 k parameters, 1×64³", goldenUNet, golden, "1,1,64,64,64", "ratio ≥ 1.11"},
	{"143 k parameters, 2×32×48×32", goldenUNet, golden, "2,1,32,48,32", "ratio ≥ 2"},
	{"4.8 M parameters, 1×64³", benchUNet, unet16, "1,1,64,64,64", "ratio ≥ 1.11"},
	{"4.8 M parameters, 2×32×48×32", benchUNet, unet16, "2,1,32,48,32", "ratio ≥ 2"},
}

// benchTraining compares training steps with PyTorch's: same network, batch,
// loss, optimizer and threads, one process after the other.
func benchTraining(ctx context.Context, l *lab, t *table) error {
	program := filepath.Join(l.o.work, "trainstep")
	if err := command(ctx, "", nil, "go", "build", "-o", program, "./internal/bench/trainstep"); err != nil {
		return err
	}
	threads := strconv.Itoa(runtime.NumCPU())
	for _, c := range stepCases {
		var ours, ref []map[string]any
		for range l.o.rounds {
			unlock, err := lock(l.o.lock)
			if err != nil {
				return err
			}
			r, err := steps(ctx, l.python, filepath.Join("internal", "bench", "trainstep", "reference.py"),
				"--network", c.network, "--shape", c.shape, "--threads", threads)
			if err == nil {
				ref = append(ref, r)
				r, err = steps(ctx, program, "-model", c.model(l), "-shape", c.shape, "-threads", threads)
			}
			unlock()
			if err != nil {
				return err
			}
			ours = append(ours, r)
		}
		t.add("training step, "+c.what, "ms", c.goal, 1, ours, ref, "median")
		t.add("training step, "+c.what+", peak memory", "MB", "ratio ≥ 1", 0, ours, ref, "peak_mb")
	}
	return nil
}

// steps runs one of the two programs and adds the median of its times.
func steps(ctx context.Context, name string, args ...string) (map[string]any, error) {
	b, err := exec.CommandContext(ctx, name, args...).Output() //nolint:gosec // programs that this bench is made of
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(name), withStderr(err))
	}
	var r struct {
		MS   []float64 `json:"ms"`
		Peak float64   `json:"peak_mb"`
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, err
	}
	if len(r.MS) == 0 {
		return nil, fmt.Errorf("%s timed no step", filepath.Base(name))
	}
	slices.Sort(r.MS)
	return map[string]any{"median": r.MS[len(r.MS)/2], "peak_mb": r.Peak}, nil
}
