package infer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/internal/fault"
)

// NumPy's file format, version 1.0, for little-endian float32 in C order:
// magic, version, length of the header, a Python dict padded with spaces so
// that the data begin at a multiple of 64, then the data (NumPy's "NPY format"
// page).

const (
	npyMagic = "\x93NUMPY"
	npyAlign = 64

	maxKeptFile = 1 << 30 // bytes
)

var npyHeader = regexp.MustCompile(`^\{'descr': '<f4', 'fortran_order': False, 'shape': \(([0-9, ]*)\), \}\s*$`)

// writeNPY writes an array; the file is complete or absent.
func writeNPY(dir, name string, shape []int64, data []float32) error {
	var dims strings.Builder
	for _, n := range shape {
		fmt.Fprintf(&dims, "%d, ", n)
	}
	head := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }", strings.TrimSuffix(dims.String(), " "))
	fixed := len(npyMagic) + 4
	head += strings.Repeat(" ", npyAlign-1-(fixed+len(head))%npyAlign) + "\n"
	var b bytes.Buffer
	b.WriteString(npyMagic + "\x01\x00")
	b.Write(binary.LittleEndian.AppendUint16(nil, uint16(len(head)))) //nolint:gosec // a few dozen bytes
	b.WriteString(head)
	b.Grow(4 * len(data))
	var word [4]byte
	for _, v := range data {
		binary.LittleEndian.PutUint32(word[:], math.Float32bits(v))
		b.Write(word[:])
	}
	return atomicfile.Write(filepath.Join(dir, name), os.FileMode(0o644), func(w io.Writer) error {
		_, err := b.WriteTo(w)
		return err
	})
}

// readNPY reads an array of float32 in C order. Errors: fs.ErrNotExist,
// fault.Invalid for any other file.
func readNPY(fsys fs.FS, name string) (shape []int64, data []float32, err error) {
	bad := func(why string) error { return fault.New(fault.Invalid, "%s: %s", name, why) }
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxKeptFile {
		return nil, nil, bad("is no plain file of a sensible size")
	}
	raw, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, nil, err
	}
	fixed := len(npyMagic) + 4
	if len(raw) < fixed || string(raw[:len(npyMagic)]) != npyMagic || raw[len(npyMagic)] != 1 {
		return nil, nil, bad("is no NumPy file of version 1")
	}
	begin := fixed + int(binary.LittleEndian.Uint16(raw[fixed-2:]))
	if begin > len(raw) {
		return nil, nil, bad("its header is cut off")
	}
	m := npyHeader.FindSubmatch(raw[fixed:begin])
	if m == nil {
		return nil, nil, bad("holds no float32 array in C order")
	}
	n := int64(1)
	for part := range strings.SplitSeq(string(m[1]), ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		d, err := strconv.ParseInt(part, 10, 32)
		if err != nil || d < 1 || n > maxKeptFile/d {
			return nil, nil, bad("has an impossible shape")
		}
		shape, n = append(shape, d), n*d
	}
	raw = raw[begin:]
	if int64(len(raw)) != 4*n {
		return nil, nil, bad("its size does not match its shape")
	}
	data = make([]float32, n)
	for i := range data {
		data[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return shape, data, nil
}
