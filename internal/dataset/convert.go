package dataset

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/voxloop/voxloop/internal/fault"
)

// finalLabels is the folder of labels, with slashes.
const finalLabels = "labels/final"

// Case is one image of a studies folder that fetch made.
type Case struct {
	ID     string   `json:"id"`
	Images []string `json:"images"`          // file names; several are the channels in order
	Label  string   `json:"label,omitempty"` // path from the studies folder, with slashes
}

// Left is what could not be used.
type Left struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

// converter makes a studies folder from the wanted files of an archive.
type converter struct {
	dir      string
	classes  []Label     // of the set, values as in its files
	values   map[int]int // value in the set's files → in the folder's; nil: unchanged
	channels int         // that every image must have; 0: any number
	lim      Limits      // Volume bounds the decoded bytes of all cases at work
	workers  int
	progress func(done, total int64)

	declared map[uint16]bool // values of the set's files

	memory *semaphore.Weighted // of lim.Volume bytes

	mu    sync.Mutex
	done  int64
	cases []Case
	left  []Left
}

// run converts every case, several at a time. Cases that cannot be used are
// left out with the reason; other errors end the work.
func (c *converter) run(ctx context.Context, all []*found) error {
	c.memory = semaphore.NewWeighted(c.lim.Volume)
	c.declared = map[uint16]bool{0: true}
	for _, l := range c.classes {
		c.declared[uint16(l.Value)] = true //nolint:gosec // checkLabels
	}
	if err := os.MkdirAll(filepath.Join(c.dir, filepath.FromSlash(finalLabels)), 0o755); err != nil { //nolint:gosec // a studies folder is shared with the people who work on it
		return diskFault(err, "the conversion")
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, c.workers))
	for _, f := range all {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return fault.Wrap(fault.Canceled, err, "the conversion was stopped")
			}
			got, err := c.convert(ctx, f)
			return c.note(f, got, err, int64(len(all)))
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	slices.SortFunc(c.cases, func(a, b Case) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(c.left, func(a, b Left) int { return strings.Compare(a.ID, b.ID) })
	return nil
}

// note keeps the result of one case. What is wrong with the case itself leaves
// it out; what is wrong with the disk ends the work.
func (c *converter) note(f *found, got Case, err error, total int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done++
	c.progress(c.done, total)
	switch kind := fault.KindOf(err); {
	case err == nil:
		c.cases = append(c.cases, got)
	case kind == fault.Invalid || kind == fault.TooLarge || kind == fault.NotFound:
		msg, _ := fault.Message(err)
		c.left = append(c.left, Left{f.id, msg})
	default:
		return err
	}
	return nil
}
