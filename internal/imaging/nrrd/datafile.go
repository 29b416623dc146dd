package nrrd

import (
	"context"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
)

// dataFiles says where the voxels of a detached header are.
type dataFiles struct {
	listed  []string // in the order of the slowest axis; nil where a pattern stands for them
	pattern *pattern
	subdim  int // dimension of the array in each of several files; 0 when not said
}

// count is how many files there are; 0 for an attached header.
func (d *dataFiles) count() int {
	if d.pattern != nil {
		return d.pattern.count
	}
	return len(d.listed)
}

// name returns the name of file i.
func (d *dataFiles) name(i int) string {
	if d.pattern != nil {
		return d.pattern.name(i)
	}
	return d.listed[i]
}

const listWord = "LIST"

// isList reports whether a "data file" field announces names on the lines that
// follow.
func isList(field string) bool {
	words := strings.Fields(field)
	return len(words) > 0 && words[0] == listWord
}

// parseDataFile reads the field "data file": a name, a pattern with its
// numbers, or LIST with the names that followed it.
func (h *header) parseDataFile() error {
	field, ok := h.fields["datafile"]
	if !ok || field == "" {
		return nil
	}
	var err error
	switch words := strings.Fields(field); {
	case isList(field):
		h.files.listed = h.list
		err = h.files.parseSubdim(words[1:])
	case isPattern(words):
		h.files.pattern, err = parsePattern(words[0], words[1:4])
		if err == nil {
			err = h.files.parseSubdim(words[4:])
		}
	default:
		h.files.listed = []string{field}
	}
	if err != nil {
		return err
	}
	if h.files.count() == 0 {
		return raw.Malformed("the NRRD header lists no data file")
	}
	if err := h.files.checkNames(); err != nil {
		return err
	}
	return h.checkSlabs()
}

// checkNames refuses names that are not plain ones, and the same file named
// twice: a small one, repeated, could stand for any amount of voxels. The names
// of a pattern differ, and are plain when the first one is.
func (d *dataFiles) checkNames() error {
	if d.pattern != nil {
		return checkDataFile(d.name(0))
	}
	seen := make(map[string]bool, len(d.listed))
	for i, name := range d.listed {
		name = strings.TrimPrefix(name, "./")
		if err := checkDataFile(name); err != nil {
			return err
		}
		if seen[name] {
			return raw.Malformed("the NRRD header names the data file %q twice", name)
		}
		seen[name], d.listed[i] = true, name
	}
	return nil
}

// checkDataFile refuses every name that is not a plain one.
func checkDataFile(name string) error {
	if name == "." || name == ".." || strings.ContainsAny(name, "/\\\x00") || name != filepath.Base(name) || filepath.VolumeName(name) != "" {
		return raw.Malformed("the NRRD data file %q must be a plain name in the folder of the header", name)
	}
	return nil
}

func (d *dataFiles) parseSubdim(words []string) error {
	if len(words) == 0 {
		return nil
	}
	n, err := strconv.Atoi(words[0])
	if err != nil || n < 1 || len(words) > 1 {
		return raw.Malformed("the dimension %.20q of the NRRD data files is not a positive number", strings.Join(words, " "))
	}
	d.subdim = n
	return nil
}

// checkSlabs compares the number of files with the sizes: files of dimension
// subdim (one less than the array's when not said) make up the other axes;
// files of the array's own dimension share its slowest axis evenly.
func (h *header) checkSlabs() error {
	n, dim, sub := h.files.count(), len(h.sizes), h.files.subdim
	if n == 1 && sub == 0 {
		return nil
	}
	if sub == 0 {
		sub = max(dim-1, 1)
	}
	switch {
	case sub > dim:
		return raw.Malformed("the NRRD data files have %d dimensions, the array has %d", sub, dim)
	case sub == dim && h.sizes[dim-1]%n != 0:
		return raw.Malformed("%d NRRD data files cannot share an axis of %d evenly", n, h.sizes[dim-1])
	case sub < dim:
		want := 1
		for _, s := range h.sizes[sub:] {
			if want *= s; want > maxFiles {
				break // the product must not overflow
			}
		}
		if want != n {
			return raw.Malformed("the NRRD header names %d data files where its sizes need %d", n, want)
		}
	}
	return nil
}

// openDataFile opens a file in the header's own folder.
func openDataFile(s *raw.Source, name string) (*raw.Source, error) {
	f, err := s.Beside(name)
	if fault.KindOf(err) == fault.NotFound {
		return nil, raw.Malformed("its data file %q is missing", name)
	}
	return f, err
}

// parts joins the voxels of several data files: of each file exactly its share,
// decoded. Text becomes one number per line.
type parts struct {
	o     *opened
	begin func(s *raw.Source) (*raw.Source, error) // goes to the first voxel of a file
	end   func(s *raw.Source) error                // reads what follows the voxels
	share int                                      // voxels per file

	next int         // index of the next file
	file *raw.Source // the open one, or nil
	s    *raw.Source // its decoded voxels
	left int64       // what is to come of it: bytes, of text numbers
	line []byte      // of text: the rest of a number, in the memory of words

	words wordReader
}

func (o *opened) parts(ctx context.Context) *parts {
	share := o.count / o.h.files.count()
	bytes := int64(share) * int64(o.h.typ.Size())
	return &parts{
		o: o, share: share,
		begin: func(s *raw.Source) (*raw.Source, error) { return o.begin(ctx, s, bytes) },
		end:   func(s *raw.Source) error { _, err := s.Drain(ctx, o.lim.Bytes()); return err },
	}
}

// Read implements io.Reader.
func (p *parts) Read(b []byte) (int, error) {
	for p.left == 0 && len(p.line) == 0 {
		if err := p.advance(); err != nil {
			return 0, err
		}
	}
	if !isText(p.o.h.encoding) {
		n, err := p.s.Read(b[:min(int64(len(b)), p.left)])
		p.left -= int64(n)
		if err == io.EOF && p.left > 0 { //nolint:errorlint // the plain end of the stream
			err = io.ErrUnexpectedEOF
		}
		if err != nil && p.left > 0 {
			return n, p.named(raw.ReadFailure(err, "its voxels"))
		}
		return n, nil
	}
	if len(p.line) == 0 {
		w, err := p.words.next(p.s)
		if err != nil {
			return 0, p.named(err)
		}
		p.line, p.left = append(w, '\n'), p.left-1
	}
	n := copy(b, p.line)
	p.line = p.line[n:]
	return n, nil
}

// advance ends the present file and begins the next one; io.EOF behind the
// last.
func (p *parts) advance() error {
	if p.file != nil {
		if err := p.end(p.s); err != nil {
			return p.named(err)
		}
		if err := p.close(); err != nil {
			return raw.ReadFailure(err, "a data file")
		}
	}
	if p.next == p.o.h.files.count() {
		return io.EOF
	}
	p.next++
	var err error
	if p.file, err = openDataFile(p.o.data, p.o.h.files.name(p.next-1)); err != nil {
		return err
	}
	if p.s, err = p.begin(p.file); err != nil {
		return p.named(err)
	}
	if p.left = int64(p.share); !isText(p.o.h.encoding) {
		p.left *= int64(p.o.h.typ.Size())
	}
	return nil
}

// named says which file an error is about.
func (p *parts) named(err error) error {
	msg, ok := fault.Message(err)
	if !ok {
		return err
	}
	return fault.Wrap(fault.KindOf(err), err, "its data file %q: %s", p.o.h.files.name(p.next-1), msg)
}

func (p *parts) close() error {
	f := p.file
	p.file = nil
	if f == nil {
		return nil
	}
	return f.Close()
}
