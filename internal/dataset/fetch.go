package dataset

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
)

// Options say what Fetch is to do. Out is needed.
type Options struct {
	Out        string         // the studies folder that is to be made
	From       string         // an archive or a folder that is there already; empty: download
	URL        string         // of the archive, in place of the set's
	SHA256     string         // that the archive must have, beside what the set says
	Labels     map[string]int // classes that are wanted, with their values; 0: the next free one. nil: all as they are
	Unlabelled bool           // images without labels, too
	Keep       bool           // leave a downloaded archive in Out.fetch

	Limits   Limits
	Workers  int                                   // cases at work at a time; 0: the cores
	Progress func(phase string, done, total int64) // bytes, or cases; total is -1 while it is not known. Called by one goroutine at a time

	free func(dir string) (int64, bool)
	wait func(context.Context, time.Duration) error
}

// The phases that Progress is told.
const (
	PhaseDownload = "downloading"
	PhaseCheck    = "checking"
	PhaseUnpack   = "unpacking"
	PhaseConvert  = "converting"
)

// WorkFolder is where Fetch works until out is complete, and where what came
// stays when it is stopped.
func WorkFolder(out string) string { return resolve(out) + ".fetch" }

// resolve returns the folder that a path means: the target of a link, and a name
// that has a parent for ".".
func resolve(out string) string {
	if target, err := filepath.EvalSymlinks(out); err == nil {
		out = target
	}
	if abs, err := filepath.Abs(out); err == nil {
		return abs
	}
	return filepath.Clean(out)
}

// Fetch makes the studies folder o.Out of a set. It appears whole or not at
// all. When it is there already, made of the same set with the same wishes, its
// record is returned and nothing is done; again reports that.
func Fetch(ctx context.Context, s Set, o Options) (r *Record, again bool, err error) {
	f, err := newFetch(s, o)
	if err != nil {
		return nil, false, err
	}
	if r, err := f.present(); r != nil || err != nil {
		return r, true, err
	}
	if err := os.MkdirAll(f.work, 0o755); err != nil { //nolint:gosec // a studies folder is shared with the people who work on it
		return nil, false, diskFault(err, "the folder "+f.work)
	}
	unlock, err := lock(filepath.Join(f.work, "lock"))
	if err != nil {
		return nil, false, diskFault(err, "the folder "+f.work)
	}
	defer unlock()
	if r, err = f.run(ctx); err != nil {
		return nil, false, errors.Join(err, f.tidy())
	}
	return r, false, f.clean()
}

// fetch is one call of Fetch.
type fetch struct {
	set     Set
	o       Options
	work    string // beside Out, on the same disk
	archive *Archive
}

func newFetch(s Set, o Options) (*fetch, error) {
	if o.Out == "" {
		return nil, fault.New(fault.Invalid, "no folder is given")
	}
	o.Out = resolve(o.Out)
	o.Limits = o.Limits.withDefaults()
	o.URL = cmp.Or(o.URL, s.URL)
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Progress == nil {
		o.Progress = func(string, int64, int64) {}
	}
	if o.free == nil {
		o.free = freeBytes
	}
	if o.wait == nil {
		o.wait = sleep
	}
	if o.From == "" && o.URL == "" {
		return nil, fault.New(fault.Unavailable, "%s cannot be downloaded by a program: %s", s.Name, s.Access)
	}
	if b, err := hex.DecodeString(o.SHA256); err != nil || o.SHA256 != "" && len(b) != 32 {
		return nil, fault.New(fault.Invalid, "%q is no SHA-256: 64 hexadecimal digits are needed", o.SHA256)
	}
	if len(s.Labels) > 0 {
		if _, _, err := choose(s.Labels, o.Labels); err != nil {
			return nil, err
		}
	}
	return &fetch{set: s, o: o, work: WorkFolder(o.Out)}, nil
}

// present returns the record of a folder that is there already. Another folder
// in the way is a Conflict.
func (f *fetch) present() (*Record, error) {
	entries, err := os.ReadDir(f.o.Out)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil, mountPoint(f.o.Out)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Conflict, err, "%s is in the way", f.o.Out)
	}
	r, err := ReadRecord(f.o.Out)
	if err != nil {
		return nil, fault.New(fault.Conflict, "%s is not empty, and not a folder that voxloop data fetch made: nothing was changed", f.o.Out)
	}
	same := r.Name == f.set.Name && r.Unlabelled == f.o.Unlabelled && maps.Equal(r.Wanted, f.o.Labels)
	if len(f.set.Labels) == 0 { // own data: the name does not say which
		same = same && f.o.From == "" && r.Archive != nil && r.Archive.URL == f.o.URL
	}
	if !same {
		return nil, fault.New(fault.Conflict, "%s holds %s, or other parts of it: nothing was changed", f.o.Out, r.Name)
	}
	return r, nil
}

func (f *fetch) run(ctx context.Context) (*Record, error) {
	from := f.o.From
	if from == "" {
		var err error
		if from, err = f.download(ctx); err != nil {
			return nil, err
		}
	}
	if err := f.check(ctx, from); err != nil {
		return nil, err
	}
	// What an earlier call left half done is of no use.
	unpacked, studies := filepath.Join(f.work, "unpacked"), filepath.Join(f.work, "studies")
	for _, dir := range []string{unpacked, studies} {
		if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil { //nolint:gosec // as above
			return nil, diskFault(err, "the folder "+f.work)
		}
	}
	u := &unpacker{
		match: f.set.Layout.matcher(f.o.Unlabelled), only: f.masks(), lim: f.o.Limits, dir: unpacked, free: f.o.free,
		progress: func(done, total int64) { f.o.Progress(PhaseUnpack, done, total) },
	}
	err := u.unpack(ctx, from)
	if err != nil {
		return nil, f.hint(err)
	}
	r, err := f.convert(ctx, u, studies)
	if err != nil {
		return nil, f.hint(err)
	}
	return r, f.publish(studies)
}

// hint tells what to do about a downloaded archive that cannot be used: the next
// call would take it again.
func (f *fetch) hint(err error) error {
	if msg, ok := fault.Message(err); ok && f.o.From == "" && fault.KindOf(err) == fault.Invalid {
		return fault.New(fault.Invalid, "%s (the archive is in %s; remove it to download it again)", msg, f.work)
	}
	return err
}

// masks are the classes whose files are wanted; nil for all.
func (f *fetch) masks() map[string]bool {
	if f.o.Labels == nil {
		return nil
	}
	only := map[string]bool{}
	for name := range f.o.Labels {
		only[name] = true
	}
	return only
}

// tidy removes what a failed call cannot use again: all but a download.
func (f *fetch) tidy() error {
	for _, dir := range []string{"unpacked", "studies"} {
		if err := os.RemoveAll(filepath.Join(f.work, dir)); err != nil {
			return diskFault(err, "the folder "+f.work)
		}
	}
	if left, err := os.ReadDir(f.work); err == nil && len(left) <= 1 { // the lock
		return diskFault(os.RemoveAll(f.work), "the folder "+f.work)
	}
	return nil
}

// clean removes the work folder, but for an archive that is to be kept.
func (f *fetch) clean() error {
	if !f.o.Keep || f.o.From != "" {
		return diskFault(os.RemoveAll(f.work), "the folder "+f.work)
	}
	return diskFault(os.RemoveAll(filepath.Join(f.work, "unpacked")), "the folder "+f.work)
}
