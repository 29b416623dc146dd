package dataset

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/phantom"
)

// entry is one member of an archive that a test makes.
type entry struct {
	name string
	data []byte
	flag byte // tar's type; 0: a regular file
}

// tarOf packs entries.
func tarOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: 0o644, Size: int64(len(e.data)), Typeflag: tar.TypeReg}
		if e.flag != 0 {
			h.Typeflag, h.Size, h.Linkname = e.flag, 0, string(e.data)
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if e.flag == 0 {
			if _, err := w.Write(e.data); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		f, err := w.Create(e.name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipOf(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// volume returns an image file in which voxel i of channel c is value(c, i).
func volume(t *testing.T, size [3]int, channels int, value func(c, i int) int) []byte {
	t.Helper()
	return volumeAt(t, imaging.Grid{Size: size, Affine: imaging.Identity()}, channels, value)
}

func volumeAt(t *testing.T, grid imaging.Grid, channels int, value func(c, i int) int) []byte {
	t.Helper()
	v := imaging.NewVolume(grid, channels, imaging.Int16)
	data := v.Data.(imaging.Samples[int16])
	for i := range data {
		data[i] = int16(value(i/v.Voxels(), i%v.Voxels()))
	}
	var b bytes.Buffer
	if err := codec.Write(&b, ".nii.gz", v, codec.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var cube = [3]int{4, 5, 6}

func grey(t *testing.T) []byte {
	t.Helper()
	return volume(t, cube, 1, func(_, i int) int { return 10 * i })
}

// classes returns a label map with the values 0..n.
func classes(t *testing.T, n int) []byte {
	t.Helper()
	return volume(t, cube, 1, func(_, i int) int { return i % (n + 1) })
}

// phantoms are entries in the Decathlon's form: n labelled phantoms, one image
// without a label, what macOS leaves, and dataset.json.
func phantoms(t *testing.T, n int) []entry {
	t.Helper()
	dir := t.TempDir()
	if err := phantom.WriteCases(t.Context(), dir, n+1, 1); err != nil {
		t.Fatal(err)
	}
	read := func(elem ...string) []byte {
		data, err := os.ReadFile(filepath.Join(append([]string{dir}, elem...)...))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	out := []entry{
		{name: "./Task99_Phantom/", flag: tar.TypeDir},
		{name: "./Task99_Phantom/._dataset.json", data: []byte("junk")},
		{name: "./Task99_Phantom/dataset.json", data: []byte(`{"name": "p", "modality": {"0": "MRI"}, "labels": {"0": "background", "1": "anterior", "2": "posterior"}}`)},
	}
	for i := 1; i <= n; i++ {
		out = append(
			out,
			entry{name: "./Task99_Phantom/imagesTr/._" + phantom.Name(i), data: []byte("junk")},
			entry{name: "./Task99_Phantom/imagesTr/" + phantom.Name(i), data: read(phantom.Name(i))},
			entry{name: "./Task99_Phantom/labelsTr/" + phantom.Name(i), data: read(phantom.TruthDir, phantom.Name(i))},
		)
	}
	return append(out, entry{name: "./Task99_Phantom/imagesTs/" + phantom.Name(n+1), data: read(phantom.Name(n + 1))})
}

// phantomSet is a set of the phantoms' form.
func phantomSet(archive []byte) Set {
	m := md5.Sum(archive)
	return Set{
		Name: "Phantoms", Title: "phantoms", Modality: "MR", Labels: numbered([]string{"anterior", "posterior"}),
		Archive: "phantoms.tar", MD5: hex.EncodeToString(m[:]), Licence: "none", Layout: decathlonLayout,
	}
}

// file writes data into a new folder and returns its path.
func file(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tree returns the SHA-256 of every file below dir, by path.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		sum := sha256.Sum256(data)
		out[filepath.ToSlash(rel)] = hex.EncodeToString(sum[:])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// fails asserts the kind and the words of an error.
func fails(t *testing.T, err error, kind fault.Kind, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one of kind %v", kind)
	}
	if k := fault.KindOf(err); k != kind {
		t.Errorf("kind %v, want %v: %v", k, kind, err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

// absent asserts that nothing lies at path.
func absent(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("%s is there (%v)", path, err)
	}
}

// noWait lets retries follow at once.
func noWait(ctx context.Context, _ time.Duration) error { return ctx.Err() }

// values returns the voxels of an image file.
func values(t *testing.T, path string) []int {
	t.Helper()
	v, err := codec.Read(t.Context(), path, codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if v.Channels != 1 {
		t.Fatalf("%s has %d channels", path, v.Channels)
	}
	out := make([]int, v.Voxels())
	for i := range out {
		out[i] = int(v.Data.At(i)*v.Slope + v.Intercept)
	}
	return out
}
