package codec_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
)

func encode(t testing.TB, ext string, v *imaging.Volume, o codec.WriteOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := codec.Write(&b, ext, v, o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func small(t imaging.DataType) *imaging.Volume {
	return numbered(imaging.Grid{Size: [3]int{5, 4, 3}, Affine: oblique(0.4, -0.3, 0.9, [3]float64{0.9, 1.1, 2.5})}, 1, t)
}

func zipped(b []byte) []byte {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(b); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return z.Bytes()
}

// set16 and set32 patch numbers of a NIfTI-1 header.
func set16(b []byte, at, n int) { binary.LittleEndian.PutUint16(b[at:], uint16(n)) }

func set32(b []byte, at int, f float64) {
	binary.LittleEndian.PutUint32(b[at:], math.Float32bits(float32(f)))
}

// nrrdText joins header lines and data.
func nrrdText(data string, lines ...string) []byte {
	return []byte("NRRD0004\n" + strings.Join(lines, "\n") + "\n\n" + data)
}

type badCase struct {
	name string
	data []byte
	kind fault.Kind
	err  error
	want string // part of the message
}

func badNIfTI(t *testing.T) []badCase {
	patch := func(change func(b []byte)) []byte {
		b := encode(t, ".nii", small(imaging.Int16), codec.WriteOptions{})
		change(b)
		return b
	}
	huge := func(n int) func(b []byte) {
		return func(b []byte) { set16(b, 42, n); set16(b, 44, n); set16(b, 46, n) }
	}
	invalid := func(name, want string, change func(b []byte)) badCase {
		return badCase{name, patch(change), fault.Invalid, imaging.ErrFormat, want}
	}
	whole := encode(t, ".nii.gz", small(imaging.Int16), codec.WriteOptions{})
	plain := encode(t, ".nii", small(imaging.Int16), codec.WriteOptions{})
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-6] ^= 0xff // in the checksum
	return []badCase{
		{"empty", nil, fault.Invalid, imaging.ErrFormat, "it is empty"},
		{"gzip of nothing", zipped(nil), fault.Invalid, imaging.ErrFormat, "it is empty"},
		{"only a gzip magic", []byte{0x1f, 0x8b}, fault.Invalid, imaging.ErrFormat, "gzip header"},
		{"truncated gzip", whole[:len(whole)/2], fault.Invalid, imaging.ErrFormat, "ends before"},
		{"gzip without its end", whole[:len(whole)-8], fault.Invalid, imaging.ErrFormat, "gzip stream"},
		{"gzip with a wrong checksum", flipped, fault.Invalid, imaging.ErrFormat, "damaged"},
		{"half a header", plain[:200], fault.Invalid, imaging.ErrFormat, "NIfTI header"},
		{"truncated voxels", plain[:len(plain)-1], fault.Invalid, imaging.ErrFormat, ""},
		{"10^12 voxels", patch(huge(10000)), fault.TooLarge, imaging.ErrLimit, "10000×10000×10000"},
		{"10^12 voxels, gzip", zipped(patch(huge(10000))), fault.TooLarge, imaging.ErrLimit, "10000×10000×10000"},
		{"10^9 voxels", patch(huge(1000)), fault.Invalid, imaging.ErrFormat, ""},
		{"10^9 voxels, gzip", zipped(patch(huge(1000))), fault.Invalid, imaging.ErrFormat, ""},
		invalid("NaN in the sform", "NaN", func(b []byte) { set32(b, 284, math.NaN()) }),
		invalid("infinite sform", "infinite", func(b []byte) { set32(b, 284, math.Inf(1)) }),
		invalid("NaN in the qform", "NaN", func(b []byte) { set16(b, 254, 0); set32(b, 268, math.NaN()) }),
		invalid("NaN quaternion", "NaN", func(b []byte) { set16(b, 254, 0); set32(b, 256, math.NaN()) }),
		invalid("long quaternion", "quaternion", func(b []byte) { set16(b, 254, 0); set32(b, 256, 3) }),
		invalid("NaN voxel size", "NaN", func(b []byte) { set16(b, 254, 0); set16(b, 252, 0); set32(b, 80, math.NaN()) }),
		invalid("negative dimension", "-5 voxels along axis 1", func(b []byte) { set16(b, 42, -5) }),
		invalid("zero dimension", "0 voxels along axis 3", func(b []byte) { set16(b, 46, 0) }),
		invalid("no dimensions", "0 dimensions", func(b []byte) { set16(b, 40, 0) }),
		invalid("eight dimensions", "8 dimensions", func(b []byte) { set16(b, 40, 8) }),
		invalid("RGB", "RGB", func(b []byte) { set16(b, 70, 128) }),
		invalid("complex", "complex64", func(b []byte) { set16(b, 70, 32) }),
		invalid("unknown type", "4711", func(b []byte) { set16(b, 70, 4711) }),
		invalid("NaN offset", "NaN", func(b []byte) { set32(b, 108, math.NaN()) }),
		invalid("huge offset", "start at byte", func(b []byte) { set32(b, 108, 1e30) }),
		invalid("large offset", "too short", func(b []byte) { set32(b, 108, 1e12) }),
		invalid("offset in the header", "start at byte", func(b []byte) { set32(b, 108, 348) }),
		invalid("negative offset", "start at byte", func(b []byte) { set32(b, 108, -1) }),
		invalid("infinite intercept", "intercept", func(b []byte) { set32(b, 116, math.Inf(1)) }),
		invalid("Analyze 7.5", "Analyze", func(b []byte) { clear(b[344:348]) }),
		invalid("a pair's header alone", "", func(b []byte) { copy(b[344:], "ni1\x00") }),
		{"7 dimensions overflow", patch(func(b []byte) {
			set16(b, 40, 7)
			for i := range 7 {
				set16(b, 42+2*i, 32767)
			}
		}), fault.TooLarge, imaging.ErrLimit, ""},
	}
}

func badNRRD(t *testing.T) []badCase {
	whole := encode(t, ".nrrd", small(imaging.Int16), codec.WriteOptions{Compress: true})
	fields := func(replace ...string) []string {
		f := []string{
			"type: short", "dimension: 3", "space: left-posterior-superior", "sizes: 5 4 3",
			"space directions: (1,0,0) (0,1,0) (0,0,1)", "endian: little", "encoding: raw", "space origin: (0,0,0)",
		}
		for _, r := range replace {
			name, _, _ := strings.Cut(r, ":")
			for i := range f {
				if strings.HasPrefix(f[i], name+":") {
					f[i], r = r, "# replaced"
				}
			}
			f = append(f, r)
		}
		return f
	}
	data := strings.Repeat("\x01\x00", 60)
	invalid := func(name, want string, replace ...string) badCase {
		return badCase{name, nrrdText(data, fields(replace...)...), fault.Invalid, imaging.ErrFormat, want}
	}
	large := func(name string, replace ...string) badCase {
		return badCase{name, nrrdText(data, fields(replace...)...), fault.TooLarge, imaging.ErrLimit, ""}
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-6] ^= 0xff // in the checksum
	return []badCase{
		{"gzip NRRD with a wrong checksum", flipped, fault.Invalid, imaging.ErrFormat, "damaged"},
		{"truncated gzip NRRD", whole[:len(whole)-20], fault.Invalid, imaging.ErrFormat, "ends before"},
		{"header without end", []byte("NRRD0004\ntype: short\n"), fault.Invalid, imaging.ErrFormat, "NRRD header"},
		{"future version", []byte("NRRD0009\n\n"), fault.Invalid, imaging.ErrFormat, "NRRD0009"},
		{"short data", nrrdText(data[:50], fields()...), fault.Invalid, imaging.ErrFormat, ""},
		large("10^6×10^6", "sizes: 1000000 1000000 1"),
		large("overflowing sizes", "sizes: 4611686018427387904 4 3"),
		large("overflow by a list", "dimension: 4", "sizes: 4611686018427387904 5 4 3", "space directions: none (1,0,0) (0,1,0) (0,0,1)"),
		invalid("negative size", "positive", "sizes: 5 -4 3"),
		invalid("zero size", "positive", "sizes: 5 0 3"),
		invalid("too few sizes", "2 sizes for 3 axes", "sizes: 5 4"),
		invalid("no dimension", "dimension", "dimension: x"),
		invalid("17 axes", "dimension", "dimension: 17"),
		invalid("block type", "block", "type: block"),
		invalid("no endian", "endian", "endian:"),
		invalid("odd endian", "middle", "endian: middle"),
		invalid("unknown encoding", "zstd", "encoding: zstd"),
		invalid("NaN direction", "NaN", "space directions: (1,NaN,0) (0,1,0) (0,0,1)"),
		invalid("infinite origin", "Inf", "space origin: (inf,0,0)"),
		invalid("flat directions", "inverted", "space directions: (1,0,0) (1,0,0) (0,0,1)"),
		invalid("all none", "no axis in space", "space directions: none none none"),
		invalid("open vector", "malformed", "space directions: (1,0,0) (0,1,0) (0,0,1"),
		invalid("two directions", "2 space directions", "space directions: (1,0,0) (0,1,0)"),
		invalid("four directions", "more than three", "dimension: 4", "sizes: 5 4 3 1", "space directions: (1,0,0) (0,1,0) (0,0,1) (1,1,1)"),
		invalid("repeated field", "twice", "type : int"),
		invalid("line skip -1", "lineskip", "line skip: -1"),
		invalid("line skip too far", "skipped lines", "line skip: 9"),
		invalid("byte skip too far", "too short", "byte skip: 1000000"),
		invalid("no field", "neither a field", "nonsense"),
		invalid("detached in a stream", "", "data file: x.raw"),
		invalid("text that is no number", "no int16", "encoding: ascii"),
		invalid("hex that is none", "hexadecimal", "encoding: hex", "type: uchar"),
		invalid("no bzip2", "damaged", "encoding: bzip2"),
		invalid("no gzip", "gzip header", "encoding: gzip"),
	}
}

// Every bad file is refused, as a file and as a stream, with the right kind,
// a message that says why and no path, and without taking memory for what the
// header promises.
func TestBadFilesAreRefused(t *testing.T) {
	dir := t.TempDir()
	for _, c := range append(badNIfTI(t), badNRRD(t)...) {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(dir, "case")
			if err := os.WriteFile(path, c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, fileErr := codec.Read(t.Context(), path, codec.Limits{})
			_, streamErr := codec.ReadFrom(t.Context(), bytes.NewReader(c.data), "case", codec.Limits{})
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 24<<20 {
				t.Errorf("%d MiB were allocated", used>>20)
			}
			for _, err := range []error{fileErr, streamErr} {
				msg, _ := fault.Message(err)
				switch {
				case fault.KindOf(err) != c.kind || !errors.Is(err, c.err):
					t.Errorf("kind %v: %v", fault.KindOf(err), err)
				case !strings.HasPrefix(msg, "cannot read case: ") || strings.Contains(err.Error(), dir):
					t.Errorf("message %q", msg)
				}
			}
			if msg, _ := fault.Message(fileErr); !strings.Contains(msg, c.want) {
				t.Errorf("the message %q does not mention %q", msg, c.want)
			}
		})
	}
}

func TestReadGridRefusesImpossibleHeaders(t *testing.T) {
	dir := t.TempDir()
	for _, c := range badNIfTI(t) {
		if !strings.Contains(c.name, "voxels") {
			continue
		}
		path := filepath.Join(dir, "case.nii")
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := codec.ReadGrid(t.Context(), path); fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestDetachedFilesStayInTheirFolder(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "studies")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(dir, "secret.raw")
	for _, p := range []string{secret, filepath.Join(folder, "beside.raw")} {
		if err := os.WriteFile(p, make([]byte, 60), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{ // part of the message, "" where the file is read
		"beside.raw": "", "./beside.raw": "", "missing.raw": "missing", "../secret.raw": "plain name", secret: "plain name",
		"..": "plain name", ".": "plain name", "sub/../beside.raw": "plain name", `..\secret.raw`: "plain name",
		"./../secret.raw": "plain name", "LIST": "lists no data file", "LIST\n../secret.raw": "plain name", "s%03d.raw 1 3 1": "missing", "../s%03d.raw 1 3 1": "plain name",
	} {
		path := filepath.Join(folder, "h.nhdr")
		text := "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 5 4 3\nencoding: raw\ndata file: " + name + "\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := codec.Read(t.Context(), path, codec.Limits{})
		msg, _ := fault.Message(err)
		if want == "" && err != nil || want != "" && (fault.KindOf(err) != fault.Invalid || !strings.Contains(msg, want)) {
			t.Errorf("data file %q: %v", name, err)
		}
	}
}

func TestMissingAndUnreadableFiles(t *testing.T) {
	dir := t.TempDir()
	if _, err := codec.Read(t.Context(), filepath.Join(dir, "none.nii"), codec.Limits{}); fault.KindOf(err) != fault.NotFound || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := codec.Read(t.Context(), dir, codec.Limits{}); fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), dir) {
		t.Errorf("a folder: %v", err)
	}
}

func TestLimits(t *testing.T) {
	b := encode(t, ".nii.gz", small(imaging.Int16), codec.WriteOptions{})
	for _, tt := range []struct {
		lim codec.Limits
		ok  bool
	}{
		{codec.Limits{}, true},
		{codec.Limits{MaxVoxels: 60, MaxBytes: 120}, true},
		{codec.Limits{MaxVoxels: 59}, false},
		{codec.Limits{MaxBytes: 119}, false},
	} {
		_, err := codec.ReadFrom(t.Context(), bytes.NewReader(b), "x", tt.lim)
		if tt.ok != (err == nil) || !tt.ok && (fault.KindOf(err) != fault.TooLarge || !errors.Is(err, imaging.ErrLimit)) {
			t.Errorf("%+v: %v", tt.lim, err)
		}
	}
}

// canceling cancels its context after some bytes.
type canceling struct {
	r      io.Reader
	left   int
	cancel context.CancelFunc
}

func (c *canceling) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.left -= n; c.left < 0 {
		c.cancel()
	}
	return n, err
}

func TestReadingStopsWithItsContext(t *testing.T) {
	g := imaging.Grid{Size: [3]int{256, 256, 256}, Affine: imaging.Identity()}
	for _, ext := range []string{".nii", ".nrrd"} {
		b := encode(t, ext, imaging.NewVolume(g, 1, imaging.Uint16), codec.WriteOptions{})
		ctx, cancel := context.WithCancel(t.Context())
		r := &canceling{r: bytes.NewReader(b), left: 1 << 20, cancel: cancel}
		_, err := codec.ReadFrom(ctx, r, "x"+ext, codec.Limits{})
		if fault.KindOf(err) != fault.Canceled || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", ext, err)
		}
		if read := 1<<20 - r.left; read > 16<<20 {
			t.Errorf("%s: %d bytes were read after the context had ended", ext, read)
		}
		cancel()
	}
}
