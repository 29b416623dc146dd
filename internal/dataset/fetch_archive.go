package dataset

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
)

// download brings the archive into the work folder.
func (f *fetch) download(ctx context.Context) (string, error) {
	name := f.set.Archive
	if name == "" {
		if u, err := url.Parse(f.o.URL); err == nil {
			name = path.Base(u.Path)
		}
	}
	if !checkID(name) || strings.HasPrefix(name, ".") {
		name = "archive"
	}
	to := filepath.Join(f.work, name)
	d := &download{url: f.o.URL, path: to, wait: f.o.wait, free: f.o.free, need: f.need}
	if d.complete() { // since an earlier call
		return to, nil
	}
	most := f.o.Limits.Archive
	if f.set.About > 0 && f.o.URL == f.set.URL {
		most = min(most, 2*f.set.About+100e6)
	}
	client := newClient()
	defer client.CloseIdleConnections()
	d.max, d.client = most, client
	d.progress = func(done, total int64) { f.o.Progress(PhaseDownload, done, total) }
	return to, d.run(ctx)
}

// need estimates what unpacking and converting take beside the archive: its
// files are packed already, and moved; label maps that are made anew are small.
func (f *fetch) need(archive int64) int64 {
	if len(f.set.Channels) > 1 {
		return archive + archive/2
	}
	return archive + archive/20
}

// check compares an archive with what is published. A downloaded one that is
// another is removed: going on with it would be of no use.
func (f *fetch) check(ctx context.Context, from string) error {
	info, err := os.Stat(from)
	if err != nil {
		return fault.Wrap(fault.NotFound, err, "there is no file %s", from)
	}
	if info.IsDir() {
		return nil
	}
	if f.o.From != "" {
		if err := enough(f.o.free, f.work, f.need(info.Size())); err != nil {
			return err
		}
	}
	s, err := hashing{md5: true, progress: func(done int64) { f.o.Progress(PhaseCheck, done, info.Size()) }}.file(ctx, from)
	if err != nil {
		return diskFault(err, "the archive")
	}
	f.archive = &Archive{Name: filepath.Base(from), Bytes: s.bytes, SHA256: s.sha256, MD5: s.md5}
	if f.o.From == "" {
		f.archive.URL = f.o.URL
	}
	for _, c := range []struct{ name, want, got string }{
		{"SHA-256", f.set.SHA256, s.sha256}, {"SHA-256", f.o.SHA256, s.sha256}, {"MD5", f.set.MD5, s.md5},
	} {
		if c.want == "" || strings.EqualFold(c.want, c.got) {
			continue
		}
		if f.o.From == "" {
			if err := errors.Join(os.Remove(from), os.Remove(from+stateExt)); err != nil {
				return diskFault(err, "the archive")
			}
			return fault.New(fault.Invalid, "what came from %s has the %s %s, not %s: it was removed", f.o.URL, c.name, c.got, c.want)
		}
		return fault.New(fault.Invalid, "%s has the %s %s, not %s", from, c.name, c.got, c.want)
	}
	return nil
}
