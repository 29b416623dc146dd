// Bench runs the imaging work that compare.py times beside Python libraries.
//
//	go run ./internal/imaging/bench SECTION [flags]
//
// Every section prints one line of JSON: the seconds of each repetition,
// without the start of the process, and the most memory that the process held.
// A section is a file of its own with an entry in sections.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

// section is one piece of work. It declares its flags; setup, called after
// they are parsed, reads what is not timed and returns what is.
type section func(flags *flag.FlagSet) (setup func(ctx context.Context) (work func() error, err error))

// sections are what can be run, by name: the names are those of compare.py.
var sections = map[string]section{
	"augment":    augmentPatch,
	"components": components,
	"hd95":       hd95,
	"preprocess": preprocess,
}

// result is what compare.py reads.
type result struct {
	Seconds   []float64 `json:"seconds"`
	PeakBytes int64     `json:"peak_bytes"` // 0 where the system does not tell
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	names := strings.Join(slices.Sorted(maps.Keys(sections)), ", ")
	if len(args) == 0 {
		return fmt.Errorf("name a section: %s", names)
	}
	s, ok := sections[args[0]]
	if !ok {
		return fmt.Errorf("no section %q; there are: %s", args[0], names)
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	repeat := flags.Int("repeat", 1, "repetitions")
	setup := s(flags)
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	work, err := setup(ctx)
	if err != nil {
		return err
	}
	var r result
	for range *repeat {
		start := time.Now()
		if err := work(); err != nil {
			return err
		}
		r.Seconds = append(r.Seconds, time.Since(start).Seconds())
	}
	r.PeakBytes = peak()
	return json.NewEncoder(out).Encode(r)
}

// peak returns the most memory that the process has held in RAM (VmHWM of
// Linux), 0 where that is not known.
func peak() int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	return 0
}
