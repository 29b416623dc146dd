package dataset

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/codec"
)

// VerifyOptions tune Verify. The zero value is ready for use.
type VerifyOptions struct {
	Limits   Limits
	Workers  int // files at work at a time; 0: the cores
	Progress func(done, total int64)
}

// Problem is one thing that is not as it should be.
type Problem struct {
	Path   string `json:"path"` // of the file, from the studies folder
	Reason string `json:"reason"`
}

// Verify compares a studies folder with the record that Fetch left: every file
// by its size and SHA-256, images and labels by reading them in full, labels by
// the grid of their image and by the declared values. Problems come in the
// order of the paths. Errors are those of ReadRecord, or Canceled.
func Verify(ctx context.Context, dir string, o VerifyOptions) (*Record, []Problem, error) {
	r, err := ReadRecord(dir)
	if err != nil {
		return nil, nil, err
	}
	o.Limits = o.Limits.withDefaults()
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	v := &verifier{dir: dir, o: o, record: r, memory: semaphore.NewWeighted(o.Limits.Volume), declared: map[uint16]bool{0: true}, bad: map[string]bool{}}
	for _, value := range r.Labels {
		v.declared[uint16(value)] = true //nolint:gosec // any value is compared only
	}
	v.total = int64(len(r.Files) + len(r.Cases))
	if err := v.each(ctx, len(r.Files), func(ctx context.Context, i int) error { return v.file(ctx, r.Files[i]) }); err != nil {
		return r, nil, err
	}
	if err := v.each(ctx, len(r.Cases), func(ctx context.Context, i int) error { return v.check(ctx, r.Cases[i]) }); err != nil {
		return r, nil, err
	}
	slices.SortFunc(v.problems, func(a, b Problem) int { return strings.Compare(a.Path, b.Path) })
	return r, v.problems, nil
}

type verifier struct {
	dir      string
	o        VerifyOptions
	record   *Record
	declared map[uint16]bool
	memory   *semaphore.Weighted

	mu       sync.Mutex
	problems []Problem
	bad      map[string]bool // files with a problem: not looked at again
	done     int64
	total    int64
}

// each runs fn for 0..n-1, several at a time.
func (v *verifier) each(ctx context.Context, n int, fn func(context.Context, int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(v.o.Workers)
	for i := range n {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return fault.Wrap(fault.Canceled, err, "the verification was stopped")
			}
			if err := fn(ctx, i); err != nil {
				return err
			}
			v.mu.Lock()
			defer v.mu.Unlock()
			v.done++
			if v.o.Progress != nil {
				v.o.Progress(v.done, v.total)
			}
			return nil
		})
	}
	return g.Wait()
}

func (v *verifier) at(name string) string { return filepath.Join(v.dir, filepath.FromSlash(name)) }

func (v *verifier) tell(path, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.problems, v.bad[path] = append(v.problems, Problem{path, fmt.Sprintf(format, args...)}), true
}

func (v *verifier) isBad(path string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.bad[path]
}

// file compares one file with the record.
func (v *verifier) file(ctx context.Context, f File) error {
	info, err := os.Lstat(v.at(f.Path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		v.tell(f.Path, "it is missing")
		return nil
	case err != nil:
		v.tell(f.Path, "it cannot be read: %v", err)
		return nil
	case !info.Mode().IsRegular():
		v.tell(f.Path, "it is no file")
		return nil
	case info.Size() != f.Bytes:
		v.tell(f.Path, "it has %d bytes, not %d", info.Size(), f.Bytes)
		return nil
	}
	s, err := hashing{}.file(ctx, v.at(f.Path))
	switch {
	case ctx.Err() != nil:
		return fault.Wrap(fault.Canceled, ctx.Err(), "the verification was stopped")
	case err != nil:
		v.tell(f.Path, "it cannot be read: %v", err)
	case s.sha256 != f.SHA256:
		v.tell(f.Path, "it was changed: its SHA-256 is %s, not %s", s.sha256, f.SHA256)
	}
	return nil
}

// check reads one case.
func (v *verifier) check(ctx context.Context, c Case) error {
	var first codec.Header
	for i, name := range c.Images {
		if v.isBad(name) {
			return nil // its case cannot be judged
		}
		if err := codec.Check(ctx, v.at(name), codec.Limits{MaxBytes: v.o.Limits.Volume}); err != nil {
			return v.failure(ctx, name, err)
		}
		h, err := codec.ReadGrid(ctx, v.at(name))
		if err != nil {
			return v.failure(ctx, name, err)
		}
		if i == 0 {
			first = h
		} else if h.Distance(first.Grid) > codec.AlignTolerance {
			v.tell(name, "it is not on the grid of %s", c.Images[0])
		}
	}
	if c.Label == "" || v.isBad(c.Label) || len(c.Images) == 0 {
		return nil
	}
	h, err := codec.ReadGrid(ctx, v.at(c.Label))
	if err != nil {
		return v.failure(ctx, c.Label, err)
	}
	const maps = 2 + 2 // as read, and as aligned
	bytes := min(int64(h.Voxels())*int64(h.Channels*h.Type.Size()+maps), v.o.Limits.Volume)
	if err := v.memory.Acquire(ctx, bytes); err != nil {
		return fault.Wrap(fault.Canceled, err, "the verification was stopped")
	}
	defer v.memory.Release(bytes)
	l, err := readMap(ctx, v.at(c.Label), v.o.Limits.Volume)
	if err != nil {
		return v.failure(ctx, c.Label, err)
	}
	if _, ok := codec.Align(l, first.Grid); !ok {
		v.tell(c.Label, "it (%s) is not on the grid of its image (%s)", gridText(l.Grid), gridText(first.Grid))
		return nil
	}
	if err := checkValues(l, v.declared); err != nil {
		return v.failure(ctx, c.Label, err)
	}
	return nil
}

// failure makes a problem of an error, but for the end of the context.
func (v *verifier) failure(ctx context.Context, path string, err error) error {
	if ctx.Err() != nil {
		return fault.Wrap(fault.Canceled, ctx.Err(), "the verification was stopped")
	}
	msg, ok := fault.Message(err)
	if !ok {
		msg = err.Error()
	}
	v.tell(path, "%s", msg)
	return nil
}
