package dataset

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
)

// Limits bound what an archive may hold. A zero field means its default.
type Limits struct {
	Archive  int64 // bytes of a download whose size the table does not tell; 200 GB
	Members  int   // files; 1,000,000
	Unpacked int64 // bytes of all wanted files together; 400 GB
	Ratio    int64 // unpacked bytes per byte of the archive, above 1 GB; 50
	Volume   int64 // decoded bytes of one image or label map; 4 GB
}

func (l Limits) withDefaults() Limits {
	for p, v := range map[*int64]int64{&l.Archive: 200e9, &l.Unpacked: 400e9, &l.Ratio: 50, &l.Volume: 4e9} {
		if *p <= 0 {
			*p = v
		}
	}
	if l.Members <= 0 {
		l.Members = 1_000_000
	}
	return l
}

// bomb is the number of unpacked bytes up to which no ratio is looked at.
const bomb = 1e9

// staged is a wanted file of an archive on the disk.
type staged struct {
	part
	path string
	ours bool // may be moved away
}

// found are the wanted files of one image.
type found struct {
	id         string
	images     []staged
	labels     []staged // a label map, or masks
	unlabelled bool
}

// unpacker takes the wanted files out of an archive.
type unpacker struct {
	match    *matcher
	only     map[string]bool // classes of masks that are wanted; nil: all
	lim      Limits
	dir      string // for the files of archives
	free     func(string) (int64, bool)
	progress func(done, total int64)

	members     int
	bytes       int64 // wanted so far, by what the archive declares
	of          int64 // bytes of the archive; 0 for a folder
	cases       map[string]*found
	description *staged
}

// unpack walks from. Where each wanted file lies is told by what it is, never
// by its name in the archive.
func (u *unpacker) unpack(ctx context.Context, from string) error {
	u.cases = map[string]*found{}
	if info, err := os.Stat(from); err == nil && !info.IsDir() {
		u.of = info.Size()
	}
	return walk(ctx, from, func(m member) error {
		if u.members++; u.members > u.lim.Members {
			return fault.New(fault.TooLarge, "the archive has more than %d members", u.lim.Members)
		}
		p, ok := u.match.match(m.name)
		if !ok || p.role == maskRole && u.only != nil && !u.only[p.class] {
			return nil
		}
		return u.take(ctx, m, p)
	})
}

func (u *unpacker) take(ctx context.Context, m member, p part) error {
	s := staged{part: p, path: m.path}
	if m.path == "" {
		s.ours = true
		s.path = filepath.Join(u.dir, fmt.Sprintf("%07d%s", u.members, p.ext))
		if u.bytes += m.size; m.size < 0 || u.bytes > u.lim.Unpacked || u.bytes > bomb && u.bytes/u.lim.Ratio > u.of {
			return fault.New(fault.TooLarge, "the archive (%s) unpacks to more than %s: at most %s, or %d times its own size, are unpacked",
				size(u.of), size(min(u.bytes, u.lim.Unpacked)), size(u.lim.Unpacked), u.lim.Ratio)
		}
	}
	if err := u.note(s, m.name); err != nil || m.path != "" {
		return err
	}
	if err := enough(u.free, u.dir, m.size); err != nil {
		return err
	}
	if err := writeMember(ctx, m, s.path); err != nil {
		return err
	}
	u.progress(u.bytes, -1)
	return nil
}

// note files s under its image.
func (u *unpacker) note(s staged, name string) error {
	twice := fault.New(fault.Conflict, "there are two files for one purpose, %.100q is the second (%s of %s)", name, s.role, s.id)
	if s.role == descriptionRole {
		if u.description != nil {
			return twice
		}
		u.description = &s
		return nil
	}
	c := u.cases[s.id]
	if c == nil {
		c = &found{id: s.id}
		u.cases[s.id] = c
	}
	list := &c.images
	if s.role == labelRole || s.role == maskRole {
		list = &c.labels
	}
	if slices.ContainsFunc(*list, func(o staged) bool { return o.channel == s.channel && o.class == s.class }) {
		return twice
	}
	c.unlabelled = c.unlabelled || s.role == unlabelledRole
	*list = append(*list, s)
	return nil
}

// writeMember copies a member to a new file; not a byte more than it declared.
func writeMember(ctx context.Context, m member, to string) (err error) {
	r, err := m.open()
	if err != nil {
		return err
	}
	defer func() {
		if cerr := r.Close(); err == nil { // a zip's member compares its checksum
			err = cerr
		}
	}()
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644) //nolint:gosec // a name of ours, below a folder of ours
	if err != nil {
		return diskFault(err, "unpacking")
	}
	n, err := io.Copy(writeOnly{f}, io.LimitReader(&reader{ctx, r}, m.size+1))
	if cerr := f.Close(); err == nil {
		err = diskFault(cerr, "unpacking")
	}
	switch {
	case err != nil:
		return err
	case n > m.size:
		return fault.New(fault.Invalid, "the member %.100q of the archive has more bytes than it declares", m.name)
	case n < m.size:
		return io.ErrUnexpectedEOF
	}
	return nil
}

// writeOnly tells errors of writing from those of reading.
type writeOnly struct{ w io.Writer }

// Write implements io.Writer.
func (w writeOnly) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	return n, diskFault(err, "unpacking")
}
