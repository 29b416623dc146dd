// Command passes times one inference beside the passes of an uncertainty, in
// turns, on a model folder and an image, and prints seconds as JSON, by the
// clock and of all processors: {"infer": […], "tta": […], "mc": […],
// "infer_cpu": […], …}, and those of every stage as "mc/network".
//
//	go run ./internal/bench/passes -model DIR -image FILE [-device cpu] [-mc 10]
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/ort"
)

type flags struct {
	model, image, device, profile string
	runs, mc                      int
}

func main() {
	var f flags
	flag.StringVar(&f.model, "model", "", "model folder")
	flag.StringVar(&f.image, "image", "", "image file")
	flag.StringVar(&f.device, "device", "", "cpu, openvino, cuda; empty: the server's choice")
	flag.StringVar(&f.profile, "profile", "", "file for a CPU profile")
	flag.IntVar(&f.runs, "runs", 7, "rounds")
	flag.IntVar(&f.mc, "mc", 10, "passes with Monte-Carlo dropout; 0 for a network without")
	flag.Parse()
	if err := run(context.Background(), f); err != nil {
		fmt.Fprintln(os.Stderr, "passes:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, f flags) error {
	r := infer.NewRegistry(infer.RegistryOptions{Runtime: open, Device: f.device, Logger: slog.New(slog.DiscardHandler)})
	defer func() { _ = r.Close() }()
	if err := r.Add("m", f.model); err != nil {
		return err
	}
	if err := r.Wait(ctx, "m"); err != nil {
		return err
	}
	v, err := codec.Read(ctx, f.image, codec.Limits{})
	if err != nil {
		return err
	}
	in := infer.Input{Volumes: []*imaging.Volume{v}}
	kinds := []struct {
		name string
		s    infer.Sampling
	}{{"infer", infer.Sampling{}}, {"tta", infer.Sampling{Flips: []string{infer.AllMirrorings}}}, {"mc", infer.Sampling{Dropout: f.mc}}}
	seconds := map[string][]float64{}
	if f.profile != "" {
		w, err := os.Create(f.profile)
		if err != nil {
			return err
		}
		defer func() { _ = w.Close() }()
		if err := pprof.StartCPUProfile(w); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	for i := range f.runs + 1 { // the first one opens sessions
		for _, k := range kinds {
			if k.name == "mc" && f.mc == 0 {
				continue
			}
			start, before := time.Now(), used()
			stages, err := once(ctx, r, in, k.name, k.s)
			if err != nil {
				return err
			}
			if i > 0 {
				seconds[k.name] = append(seconds[k.name], time.Since(start).Seconds())
				seconds[k.name+"_cpu"] = append(seconds[k.name+"_cpu"], used()-before)
			}
			for _, s := range stages {
				if i > 0 {
					seconds[k.name+"/"+s.Name] = append(seconds[k.name+"/"+s.Name], s.Duration.Seconds())
				}
			}
		}
	}
	return json.NewEncoder(os.Stdout).Encode(seconds)
}

// used returns the seconds that all processors have spent on this process.
func used() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return math.NaN()
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

func once(ctx context.Context, r *infer.Registry, in infer.Input, name string, s infer.Sampling) ([]infer.Stage, error) {
	if name == "infer" {
		out, err := r.Infer(ctx, "m", in, infer.Options{})
		if err != nil {
			return nil, err
		}
		return out.Stages, nil
	}
	m, err := r.Measure(ctx, "m", in, infer.Options{}, s)
	if err != nil {
		return nil, err
	}
	return m.Stages, nil
}

func open(ctx context.Context) (*ort.Runtime, error) {
	lib, err := ort.Ensure(ctx, ort.InstallOptions{})
	if err != nil {
		return nil, err
	}
	return ort.Open(lib)
}
