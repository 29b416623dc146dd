package dataset

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
)

// Retries of a download. A try that brought bytes starts the count anew.
const (
	maxTries  = 7
	firstWait = time.Second
	longWait  = 30 * time.Second
	maxAfter  = 5 * time.Minute // of a server's Retry-After
	silence   = time.Minute     // without a byte or an answer
)

// download brings the file at url to path and goes on with what an earlier call
// left in path.part. It is not safe for calls of one path at the same time.
type download struct {
	url  string
	path string // where it lies when it is complete; path.part until then
	max  int64  // most bytes that are taken

	client   *http.Client
	wait     func(context.Context, time.Duration) error
	free     func(dir string) (int64, bool)
	need     func(total int64) int64 // bytes on the disk beside the file itself
	progress func(done, total int64) // total is -1 while it is not known

	file  *os.File
	state partState
	have  int64
}

// partState is what is known about the file that a part is of.
type partState struct {
	URL          string `json:"url"`
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
	Total        int64  `json:"total"` // -1: the server does not say
}

// validator is what If-Range takes: a strong ETag, else a date; "" when the
// server gave neither, so that a part cannot be told from another version's.
func (s partState) validator() string {
	if s.ETag != "" && s.ETag[0] == '"' {
		return s.ETag
	}
	return s.LastModified
}

func (d *download) part() string      { return d.path + ".part" }
func (d *download) stateFile() string { return d.path + stateExt }

// stateExt is put behind an archive's name.
const stateExt = ".json"

// complete reports whether the whole file of this address is there.
func (d *download) complete() bool {
	info, err := os.Stat(d.path)
	s, serr := d.known()
	return err == nil && serr == nil && s.URL == d.url && (s.Total < 0 || s.Total == info.Size())
}

// known reads which version of the file an earlier call met.
func (d *download) known() (s partState, err error) {
	data, err := os.ReadFile(d.stateFile())
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(data, &s)
}

// run downloads. What came stays when it fails, but where it cannot be used.
func (d *download) run(ctx context.Context) (err error) {
	if err := d.open(); err != nil {
		return diskFault(err, "the download")
	}
	defer func() {
		if d.file != nil {
			err = errors.Join(err, diskFault(d.file.Close(), "the download"))
		}
	}()
	for tries := 1; ; tries++ {
		before := d.have
		err := d.attempt(ctx)
		if err == nil {
			return diskFault(d.finish(), "the download")
		}
		if serr := d.file.Sync(); serr != nil {
			return errors.Join(err, diskFault(serr, "the download"))
		}
		if ctx.Err() != nil {
			return fault.Wrap(fault.Canceled, ctx.Err(), "the download was stopped")
		}
		again, ok := errors.AsType[*retryError](err)
		if !ok {
			return err
		}
		if d.have > before {
			tries = 1
		}
		if tries >= maxTries {
			return fault.Wrap(fault.Unavailable, again.err, "the download of %s failed %d times; the same command goes on with what has come", d.url, tries)
		}
		if err := d.wait(ctx, max(again.after, min(firstWait<<(tries-1), longWait))); err != nil {
			return fault.Wrap(fault.Canceled, err, "the download was stopped")
		}
	}
}

// open takes up what an earlier call left.
func (d *download) open() (err error) {
	d.state = partState{Total: -1}
	if s, err := d.known(); err == nil && s.URL == d.url {
		d.state = s
	}
	if d.file, err = os.OpenFile(d.part(), os.O_CREATE|os.O_RDWR, 0o644); err != nil { //nolint:gosec // a public archive
		return err
	}
	info, err := d.file.Stat()
	if err != nil {
		return err
	}
	d.have = info.Size()
	return nil
}

// restart forgets what came.
func (d *download) restart() error {
	d.have = 0
	return d.file.Truncate(0)
}

// remember notes which version of the file the part is of.
func (d *download) remember(s partState) error {
	if s == d.state {
		return nil
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	d.state = s
	return atomicWrite(d.stateFile(), append(data, '\n'))
}

// finish gives the complete file its name.
func (d *download) finish() error {
	err := d.file.Sync()
	err = errors.Join(err, d.file.Close())
	d.file = nil
	if err != nil {
		return err
	}
	if err := os.Rename(d.part(), d.path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(d.path))
}

// sleep waits.
func sleep(ctx context.Context, t time.Duration) error {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
