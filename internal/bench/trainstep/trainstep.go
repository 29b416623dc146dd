// Command trainstep times training steps of an ONNX network, for the bench: the
// same batch over and over, DiceCE and AdamW, as reference.py does in PyTorch.
//
//	trainstep -model model.onnx -shape 2,1,32,48,32 -warm 5 -steps 20
//
// It prints one JSON object: ms, the time of every step in milliseconds, and
// peak_mb, the largest resident set of the process.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/trainers/native"
)

func main() {
	model := flag.String("model", "", "network, operator set 13 or newer")
	shape := flag.String("shape", "", "of the batch: N,C,spatial…")
	classes := flag.Int("classes", 3, "label values of the batch")
	warm := flag.Int("warm", 5, "steps that are not timed")
	steps := flag.Int("steps", 20, "steps that are timed")
	threads := flag.Int("threads", 0, "threads; 0: all cores")
	lanes := flag.Int("lanes", 0, "parts of a batch that are computed at the same time; 0: as trainers.Native decides")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *model, *shape, *classes, *warm, *steps, *threads, *lanes); err != nil {
		fmt.Fprintln(os.Stderr, "trainstep:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, model, shape string, classes, warm, steps, threads, lanes int) error {
	s, dims, err := open(ctx, model, shape, threads, lanes)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	x, labels := batch(dims, classes)
	var out struct {
		MS   []float64 `json:"ms"`
		Peak float64   `json:"peak_mb"`
		Loss float64   `json:"loss"`
	}
	for i := range warm + steps {
		begin := time.Now()
		if out.Loss, err = s.Run(ctx, x, labels, 1e-3); err != nil {
			return err
		}
		if i >= warm {
			out.MS = append(out.MS, float64(time.Since(begin).Microseconds())/1000)
		}
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return err
	}
	out.Peak = float64(u.Maxrss) / 1024
	return json.NewEncoder(os.Stdout).Encode(out)
}

func open(ctx context.Context, model, shape string, threads, lanes int) (*native.Step, []int64, error) {
	var dims []int64
	for f := range strings.SplitSeq(shape, ",") {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil || n < 1 {
			return nil, nil, fmt.Errorf("-shape %q: whole numbers of at least 1, separated by commas", shape)
		}
		dims = append(dims, n)
	}
	data, err := os.ReadFile(model) //nolint:gosec // named by the caller
	if err != nil {
		return nil, nil, err
	}
	m, err := onnx.Parse(data)
	if err != nil {
		return nil, nil, err
	}
	if threads == 0 {
		threads = ort.Cores()
	}
	o := native.Options{Shape: dims, Lanes: lanes}
	if lanes == 0 {
		o.Lanes = o.LanesFor(threads)
	}
	p, err := native.Compile(m, o)
	if err != nil {
		return nil, nil, err
	}
	lib, err := ort.Ensure(ctx, ort.InstallOptions{})
	if err != nil {
		return nil, nil, err
	}
	rt, err := ort.Open(lib)
	if err != nil {
		return nil, nil, err
	}
	s, err := p.Open(rt, threads)
	return s, dims, err
}

// batch returns an image in [-0.5, 0.5) and labels 0 … classes-1 in stripes.
func batch(dims []int64, classes int) (x, labels []float32) {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	x, labels = make([]float32, n), make([]float32, n/dims[1])
	for i := range x {
		x[i] = float32(i%97)/97 - 0.5
	}
	for i := range labels {
		labels[i] = float32(i / 7 % classes)
	}
	return x, labels
}
