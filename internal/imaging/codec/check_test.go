package codec_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/testkit"
)

// unreadable are the files of the shared data that nobody could read, with the
// reason (part of the message): the README's "one file that is no NIfTI", and a
// byte skip that the format does not know.
var unreadable = map[string]string{
	"nifti_variants/not-nifti.nii":                            "neither NIfTI nor NRRD",
	"nrrd_pynrrd/BallBinary30x30x30_byteskip_minus_five.nhdr": "byteskip",
}

// imageEndings are those of NIfTI and NRRD files.
var imageEndings = []string{".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz", ".nrrd", ".nhdr"}

// Nothing in the shared data is forgotten: every NIfTI and NRRD file is read in
// full, or refused for its reason; checking agrees with reading; what was read
// is written back equal.
func TestEverySharedFile(t *testing.T) {
	root := testkit.Shared(t, "data")
	read, refused := 0, 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !isImage(path) {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if testing.Short() && strings.HasPrefix(rel, "hippocampus") {
			return nil
		}
		f, err := codec.ReadFile(t.Context(), path, codec.Limits{})
		if !strings.Contains(rel, ".img") { // Check asks for the header of a pair
			if checkErr := codec.Check(t.Context(), path, codec.Limits{}); fmt.Sprint(checkErr) != fmt.Sprint(err) {
				t.Errorf("%s: reading says %v, checking %v", rel, err, checkErr)
			}
		}
		if want, ok := unreadable[filepath.ToSlash(rel)]; ok {
			refused++
			if msg, _ := fault.Message(err); fault.KindOf(err) != fault.Invalid || !strings.Contains(msg, want) {
				t.Errorf("%s: %v, want %q", rel, err, want)
			}
			return nil
		}
		if err != nil {
			t.Errorf("%s: %v", rel, err)
			return nil
		}
		read++
		writtenBack(t, rel, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if t.Logf("%d files read, %d refused", read, refused); refused != 2 || read < 60 {
		t.Errorf("%d files read, %d refused", read, refused)
	}
}

func isImage(path string) bool {
	for _, e := range imageEndings {
		if strings.HasSuffix(path, e) {
			return true
		}
	}
	return false
}

// writtenBack writes a file in its own format and reads it again.
func writtenBack(t *testing.T, name string, f *codec.File) {
	t.Helper()
	ext := ".nii"
	if f.NRRD != nil {
		ext = ".nrrd"
	}
	var b bytes.Buffer
	o := codec.WriteOptions{NIfTI: f.NIfTI, NRRD: f.NRRD, Axes: f.Axes()}
	if err := codec.Write(&b, ext, f.Volume, o); err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	got, err := codec.ReadFrom(t.Context(), &b, name, codec.Limits{})
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if got.Grid != f.Grid || got.Channels != f.Channels || got.Data.Type() != f.Data.Type() || got.Slope != f.Slope || got.Intercept != f.Intercept {
		t.Errorf("%s: %v × %d %s became %v × %d %s", name, f.Grid, f.Channels, f.Data.Type(), got.Grid, got.Channels, got.Data.Type())
	}
	if !bytes.Equal(stored(t, f.Volume), stored(t, got)) {
		t.Errorf("%s: voxels differ", name)
	}
}

// stored is a volume's voxels as bytes.
func stored(t *testing.T, v *imaging.Volume) []byte {
	t.Helper()
	plain := *v
	plain.Slope, plain.Intercept = 1, 0
	var b bytes.Buffer
	if err := codec.Write(&b, ".nii", &plain, codec.WriteOptions{NIfTIVersion: 2}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()[544:]
}

// Checking finds every fault that reading finds, and more memory than a few
// buffers is not used.
func TestCheckAgreesWithReading(t *testing.T) {
	dir := t.TempDir()
	for _, c := range append(badNIfTI(t), badNRRD(t)...) {
		path := filepath.Join(dir, "case")
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, readErr := codec.Read(t.Context(), path, codec.Limits{})
		_, fileErr := codec.ReadFile(t.Context(), path, codec.Limits{})
		err := codec.Check(t.Context(), path, codec.Limits{})
		if fault.KindOf(err) != c.kind || fault.KindOf(fileErr) != c.kind {
			t.Errorf("%s: checking says %v, ReadFile %v", c.name, err, fileErr)
		}
		checkMsg, _ := fault.Message(err)
		if readMsg, _ := fault.Message(readErr); readMsg != checkMsg && !strings.Contains(checkMsg, "ends before") {
			t.Errorf("%s: checking says %q, reading %q", c.name, checkMsg, readMsg)
		}
	}
}

func TestCheckNeedsLittleMemory(t *testing.T) {
	dir := t.TempDir()
	v := imaging.NewVolume(imaging.Grid{Size: [3]int{256, 256, 256}, Affine: imaging.Identity()}, 1, imaging.Int16)
	for _, name := range []string{"a.nii", "a.nii.gz", "a.nrrd", "a.hdr"} {
		path := filepath.Join(dir, name)
		if err := codec.WriteFile(t.Context(), path, v, codec.WriteOptions{Compress: true}); err != nil {
			t.Fatal(err)
		}
		if used := allocated(func() {
			if err := codec.Check(t.Context(), path, codec.Limits{}); err != nil {
				t.Error(err)
			}
		}); used > 1<<20 {
			t.Errorf("%s: checking 32 MiB of voxels allocated %d KiB", name, used>>10)
		}
	}
}

func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// However well a file is compressed, reading takes the voxels' memory once:
// the end of the gzip file says how much there will be.
func TestReadingTakesMemoryOnce(t *testing.T) {
	v := imaging.NewVolume(imaging.Grid{Size: [3]int{256, 256, 256}, Affine: imaging.Identity()}, 1, imaging.Int16)
	size := uint64(2 * v.Voxels())
	for _, name := range []string{"a.nii", "a.nii.gz", "a.nrrd"} {
		path := filepath.Join(t.TempDir(), name)
		if err := codec.WriteFile(t.Context(), path, v, codec.WriteOptions{Compress: true}); err != nil {
			t.Fatal(err)
		}
		if used := allocated(func() {
			if _, err := codec.Read(t.Context(), path, codec.Limits{}); err != nil {
				t.Error(err)
			}
		}); used > size+1<<20 {
			t.Errorf("%s: %d bytes of voxels took %d bytes", name, size, used)
		}
	}
}

// What lies behind the voxels belongs to the file: a checksum that is wrong far
// behind them shows.
func TestDamageFarBehindTheVoxels(t *testing.T) {
	b := encode(t, ".nii", small(imaging.Int16), codec.WriteOptions{})
	long := zipped(append(b, make([]byte, 5<<20)...))
	long[len(long)-6] ^= 1
	path := filepath.Join(t.TempDir(), "a.nii.gz")
	if err := os.WriteFile(path, long, 0o600); err != nil {
		t.Fatal(err)
	}
	_, fileErr := codec.ReadFile(t.Context(), path, codec.Limits{})
	for _, err := range []error{codec.Check(t.Context(), path, codec.Limits{}), fileErr} {
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%v", err)
		}
	}
	if err := os.WriteFile(path, zipped(append(b, make([]byte, 5<<20)...)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := codec.Check(t.Context(), path, codec.Limits{MaxBytes: 1 << 20}); fault.KindOf(err) != fault.TooLarge {
		t.Errorf("5 MiB behind the voxels, 1 MiB allowed: %v", err)
	}
	f, err := codec.ReadFile(t.Context(), path, codec.Limits{})
	if err != nil || len(f.Problems()) != 1 || f.Problems()[0] != "5242880 bytes follow the voxels" {
		t.Errorf("%v, %v", f, err)
	}
}

// What follows a gzip stream is ignored, as gzip does; unless it is zeros, with
// which some writers pad files, it is told.
func TestBytesBehindGzip(t *testing.T) {
	dir, v := t.TempDir(), small(imaging.Int16)
	nii := encode(t, ".nii.gz", v, codec.WriteOptions{})
	nrrd := encode(t, ".nrrd", v, codec.WriteOptions{Compress: true})
	for _, whole := range [][]byte{nii, nrrd, zipped(encode(t, ".nrrd", v, codec.WriteOptions{}))} {
		for _, tt := range []struct {
			tail []byte
			want string
		}{
			{nil, ""},
			{make([]byte, 10_000), ""},
			{append(make([]byte, 9_999), 'x', 0), "10000 bytes that are no gzip follow the gzip stream; they are ignored"},
			{zipped([]byte("abc")), "3 bytes follow the voxels"},
		} {
			path := filepath.Join(dir, "a")
			if err := os.WriteFile(path, append(slices.Clone(whole), tt.tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := codec.ReadFile(t.Context(), path, codec.Limits{})
			if err != nil || strings.Join(f.Problems(), "\n") != tt.want || !bytes.Equal(stored(t, f.Volume), stored(t, v)) {
				t.Errorf("%d bytes behind: %v, %q, want %q", len(tt.tail), err, f.Problems(), tt.want)
			}
			if err := codec.Check(t.Context(), path, codec.Limits{}); err != nil {
				t.Error(err)
			}
		}
	}
}
