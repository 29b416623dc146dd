package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// warm are sections that run first on the same server and are not counted:
// "idle" means that a model has been used and nothing is left to do.
var warm = map[string]string{"info": "infer", "al": "infer"}

// section runs one section of the measurement client against one server and
// returns its figures.
func (l *lab) section(ctx context.Context, name, start, section string, args ...string) (map[string]any, error) {
	out := filepath.Join(l.o.work, "result.json")
	_ = os.Remove(out)
	all := append([]string{
		filepath.Join(l.o.shared, "reference-bench", "bench.py"), "--name", name, "--start-cmd", start,
		"--base", "http://127.0.0.1:" + port, "--out", out, "--server-log", filepath.Join(l.o.work, name+".log"),
	}, args...)
	unlock, err := lock(l.o.lock)
	if err != nil {
		return nil, err
	}
	if before := warm[section]; before != "" {
		all = append(all, "--one-server", before)
	}
	err = command(ctx, l.o.work, []string{"PYTHONDONTWRITEBYTECODE="}, l.python, append(all, section)...)
	unlock()
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(out) //nolint:gosec // written by the measurement client just now
	if err != nil {
		return nil, err
	}
	var r map[string]map[string]map[string]any
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, err
	}
	fig := r[name][section]
	if f := number(fig, "foreign_cores"); f > 0.15 {
		fmt.Fprintf(os.Stderr, "bench: %s %s: other programs used %.2f cores\n", name, section, f)
	}
	return fig, nil
}

// lock waits for the lock of a file; "" locks nothing.
func lock(path string) (unlock func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // named by the caller
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// number follows a path of keys; NaN-free: absent figures are -1.
func number(m map[string]any, path ...string) float64 {
	var v any = m
	for _, k := range path {
		o, ok := v.(map[string]any)
		if !ok {
			return -1
		}
		v = o[k]
	}
	switch t := v.(type) {
	case float64:
		return t
	case []any: // one value per start: the largest
		worst := -1.0
		for _, e := range t {
			if f, ok := e.(float64); ok {
				worst = max(worst, f)
			}
		}
		return worst
	}
	return -1
}

// pair measures the same section on both servers, round by round.
func (l *lab) pair(ctx context.Context, studies, section string, ourArgs []string, args ...string) (ours, ref []map[string]any, err error) {
	for i := range l.o.rounds {
		fmt.Fprintf(os.Stderr, "bench: %s on %s, round %d of %d\n", section, studies, i+1, l.o.rounds)
		r, err := l.section(ctx, "reference", l.reference(studies), section, args...)
		if err != nil {
			return nil, nil, err
		}
		o, err := l.section(ctx, "voxloop", l.ours(studies), section, append(slices.Clone(args), ourArgs...)...)
		if err != nil {
			return nil, nil, err
		}
		ours, ref = append(ours, o), append(ref, r)
	}
	return ours, ref, nil
}

// row is one line of the table: a figure of both servers over the rounds.
type row struct {
	what, unit, goal string
	ours, ref        []float64
	digits           int
}

type table struct{ rows []row }

func (t *table) add(what, unit, goal string, digits int, ours, ref []map[string]any, path ...string) {
	r := row{what: what, unit: unit, goal: goal, digits: digits}
	for _, m := range ours {
		r.ours = append(r.ours, number(m, path...))
	}
	for _, m := range ref {
		r.ref = append(r.ref, number(m, path...))
	}
	t.rows = append(t.rows, r)
}

func spread(v []float64, digits int) string {
	if len(v) == 0 {
		return "–"
	}
	s := slices.Sorted(slices.Values(v))
	return fmt.Sprintf("%.*f / **%.*f** / %.*f", digits, s[0], digits, s[len(s)/2], digits, s[len(s)-1])
}

func (r row) ratios() []float64 {
	var q []float64
	for i := range min(len(r.ours), len(r.ref)) {
		if r.ours[i] > 0 && r.ref[i] > 0 {
			q = append(q, r.ref[i]/r.ours[i])
		}
	}
	return q
}

func (t *table) markdown(l *lab, args string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Command: `make bench` (%s). Machine: %s. Paired rounds: %d; min / **median** / max; ratio = reference / Voxloop, round by round.\n\n", strings.ReplaceAll(args, l.o.shared, "$SHARED"), l.cpu, l.o.rounds)
	b.WriteString("| what | Voxloop | reference | ratio | goal |\n|---|---|---|---|---|\n")
	for _, r := range t.rows {
		fmt.Fprintf(&b, "| %s, %s | %s | %s | %s | %s |\n", r.what, r.unit, spread(r.ours, r.digits), spread(r.ref, r.digits), spread(r.ratios(), 1), r.goal)
	}
	b.WriteString("\n")
	return b.String()
}
