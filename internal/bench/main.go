// Command bench measures the built server beside the reference server, in the
// same run and on the same cases, with the measurement client of the shared
// folder (reference-bench), and writes the figures into docs/benchmarks.md.
//
//	go run ./internal/bench -shared ../shared -bin bin/voxloop -work .tools/bench
//
// Rounds alternate between the servers, so that a machine that drifts drifts
// for both; every figure is min / median / max over the rounds, every ratio is
// formed round by round. The reference's Python environment (about 8 GB) is
// made below the work folder on first use.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

type options struct {
	shared, bin, work, out string
	rounds                 int
	only                   string
	python, lock           string
}

func main() {
	var o options
	flag.StringVar(&o.shared, "shared", envOr("VOXLOOP_SHARED", "../shared"), "folder with reference-bench and data")
	flag.StringVar(&o.bin, "bin", "bin/voxloop", "binary under test")
	flag.StringVar(&o.work, "work", ".tools/bench", "folder for environments, models and studies; kept between runs")
	flag.StringVar(&o.out, "out", "docs/benchmarks.md", "page that receives the table")
	flag.IntVar(&o.rounds, "rounds", 3, "paired rounds")
	flag.StringVar(&o.only, "only", "", "comma-separated groups: start,hippocampus,ct,info,next,imaging,training,uncertainty (empty: all)")
	flag.StringVar(&o.python, "python", "python3", "Python 3.11 that makes the reference's environment")
	flag.StringVar(&o.lock, "lock", "", "file that is locked while a section is timed, so that other work can run in between")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func envOr(name, value string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return value
}

func run(ctx context.Context, o options) error {
	for _, p := range []*string{&o.shared, &o.bin, &o.work, &o.out} {
		a, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = a
	}
	l, err := prepare(ctx, o)
	if err != nil {
		return err
	}
	groups := strings.Split(o.only, ",")
	if o.only == "" {
		groups = []string{"start", "hippocampus", "ct", "info", "next", "imaging", "training", "uncertainty"}
	}
	var t table
	for _, g := range groups {
		f, ok := map[string]func(context.Context, *lab, *table) error{
			"start": benchStart, "hippocampus": benchHippocampus, "ct": benchCT, "info": benchInfo, "next": benchNext, "imaging": benchImaging, "training": benchTraining, "uncertainty": benchUncertainty,
		}[g]
		if !ok {
			return fmt.Errorf("no group %q", g)
		}
		if err := f(ctx, l, &t); err != nil {
			return fmt.Errorf("%s: %w", g, err)
		}
	}
	text := t.markdown(l, strings.Join(os.Args[1:], " "))
	fmt.Print(text)
	return writeSection(o.out, text)
}

// lab is what a measurement needs: both servers' commands, models and studies.
type lab struct {
	o       options
	python  string // of the reference's environment
	app     string // our app folder with both benchmark models
	refApp  string
	studies map[string]string // by name: "cases", "2000", "100000"
	cpu     string
}

const port = "18901"

func (l *lab) ours(studies string) string {
	return fmt.Sprintf("%s serve --app %s --studies %s --host 127.0.0.1 --port %s", l.o.bin, l.app, l.studies[studies], port)
}

func (l *lab) reference(studies string) string {
	return fmt.Sprintf("%s -m monailabel.main start_server --app %s --studies %s --host 127.0.0.1 --port %s",
		l.python, l.refApp, l.studies[studies]+"-reference", port)
}

// command runs a helper program quietly; its output comes with the error.
func command(ctx context.Context, dir string, env []string, name string, args ...string) error {
	c := exec.CommandContext(ctx, name, args...) //nolint:gosec // programs that this bench is made of
	c.Dir, c.Env = dir, append(os.Environ(), env...)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// withStderr adds what a failed program said.
func withStderr(err error) error {
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return fmt.Errorf("%w\n%s", err, e.Stderr)
	}
	return err
}

// writeSection replaces the generated part of the page, or appends it.
func writeSection(path, text string) error {
	const begin, end = "<!-- make bench: begin -->", "<!-- make bench: end -->"
	old, err := os.ReadFile(path) //nolint:gosec // the page named by the caller
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	page := string(old)
	block := begin + "\n" + text + end
	if i, j := strings.Index(page, begin), strings.Index(page, end); i >= 0 && j > i {
		page = page[:i] + block + page[j+len(end):]
	} else {
		page += "\n" + block + "\n"
	}
	return os.WriteFile(path, []byte(page), 0o644) //nolint:gosec // a page of the documentation
}

func machine() string {
	name := "unknown CPU"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
				name = strings.TrimSpace(v)
				break
			}
		}
	}
	return fmt.Sprintf("%s, %d cores, %s/%s, %s", name, runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, time.Now().Format(time.DateOnly))
}
