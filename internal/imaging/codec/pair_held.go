package codec

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// held is a file that is about to be replaced. Until the new one stands it has
// a second name.
type held struct {
	path  string
	there bool
	spare string // the second name; "" where there was no file or the file system has no hard links
}

// heldPair are the header and the voxels, in this order.
type heldPair [2]held

// holdPair keeps the files of an earlier pair. A folder in the place of either
// is an error.
func holdPair(hdr, img string) (heldPair, error) {
	p := heldPair{{path: hdr}, {path: img}}
	for i := range p {
		if err := p[i].hold(); err != nil {
			return p, errors.Join(err, p.release(false))
		}
	}
	return p, nil
}

func (h *held) hold() error {
	switch info, err := os.Lstat(h.path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return &fs.PathError{Op: "replace", Path: h.path, Err: syscall.EISDIR}
	}
	h.there = true
	dir, name := filepath.Split(h.path)
	spare := filepath.Join(dir, "."+name+"."+rand.Text()+".tmp")
	if os.Link(h.path, spare) == nil {
		h.spare = spare
	}
	return nil
}

// begin takes the header away, where it can be brought back.
func (p *heldPair) begin() error {
	if p[0].spare == "" {
		return nil
	}
	return os.Remove(p[0].path)
}

// release gives the second names up; restore brings the earlier files back, or
// removes what stands where there were none.
func (p *heldPair) release(restore bool) error {
	var errs []error
	for _, h := range p {
		switch {
		case h.spare != "" && restore:
			errs = append(errs, os.Rename(h.spare, h.path))
			_ = os.Remove(h.spare) // still there where both names were one file
		case h.spare != "":
			errs = append(errs, os.Remove(h.spare))
		case restore && !h.there:
			if err := os.Remove(h.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
