package apps

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/codec"
)

// Upload is a file that a client sent, kept in a temp file until Remove.
type Upload struct {
	Name string // the last component of the name the client gave; may be empty
	Path string
	Size int64
}

// Receive copies r into a temp file. name is the file name as the client sent
// it, often a whole path of its own machine; only the part after the last
// slash or backslash is used.
func (a *App) Receive(name string, r io.Reader) (*Upload, error) {
	u := &Upload{Name: BaseName(name)}
	f, err := os.CreateTemp(a.tmp, "upload*"+safeSuffix(u.Name))
	if err != nil {
		return nil, diskFault(err, "receiving the upload")
	}
	u.Path = f.Name()
	u.Size, err = io.Copy(writeOnly{f}, r)
	if err == nil {
		err = diskFault(f.Close(), "receiving the upload")
	} else {
		_ = f.Close()
	}
	if err != nil {
		u.Remove()
		return nil, err
	}
	return u, nil
}

// writeOnly marks errors of the disk, so that they are told from those of the
// reader.
type writeOnly struct{ w io.Writer }

func (w writeOnly) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	return n, diskFault(err, "receiving the upload")
}

// Remove deletes the temp file. A nil Upload has none.
func (u *Upload) Remove() {
	if u != nil {
		_ = os.Remove(u.Path)
	}
}

// BaseName returns the part of a client's file name after the last slash or
// backslash.
func BaseName(name string) string {
	return name[strings.LastIndexAny(name, `/\`)+1:]
}

// suffix is what may follow an id in a file name: at most three short parts.
var suffix = regexp.MustCompile(`^(\.[A-Za-z0-9]{1,10}){0,3}$`)

// safeSuffix returns the extension of name when it is harmless in a file name
// of ours, else "".
func safeSuffix(name string) string {
	if e := codec.Ext(name); suffix.MatchString(e) {
		return e
	}
	return ""
}

// storedExt returns the extension under which an uploaded file is kept. The
// index of the protocol's data store knows no ".seg.nrrd": such a file is an
// NRRD.
func storedExt(name string) (string, error) {
	e := codec.Ext(name)
	if l := strings.ToLower(e); codec.Known(l) {
		e = l
	}
	if e == "" || !suffix.MatchString(e) {
		return "", fault.New(fault.Invalid, "the file name %q has no usable extension; it decides how the file is read", clip(name))
	}
	if e == ".nhdr" {
		return "", fault.New(fault.Invalid, "a .nhdr names a second file that was not sent; send a .nrrd instead")
	}
	if e == ".seg.nrrd" {
		return ".nrrd", nil
	}
	return e, nil
}

// clip shortens a client's text for a message.
func clip(s string) string {
	if len(s) > 100 {
		return strings.ToValidUTF8(s[:100], "") + "…"
	}
	return s
}

// prepareTemp makes an empty folder for temp files. What a killed server left
// there is deleted.
func prepareTemp(cache string) (string, error) {
	dir := filepath.Join(cache, "tmp")
	if err := os.RemoveAll(dir); err != nil {
		return "", diskFault(err, "emptying the cache folder")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", diskFault(err, "making the cache folder")
	}
	return dir, nil
}
