package nifti

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
	"github.com/voxloop/voxloop/internal/imaging/codec/rawtest"
	"github.com/voxloop/voxloop/internal/testkit"
)

// fuzzLimits keep a run in a few megabytes.
var fuzzLimits = raw.Limits{MaxBytes: 1 << 22}

func FuzzReadNIfTI(f *testing.F) {
	four := imaging.NewVolume(imaging.Grid{Size: [3]int{2, 2, 2}, Affine: imaging.Identity()}, 3, imaging.Float64)
	for _, v := range []*imaging.Volume{volume(imaging.Identity()), four} {
		for version := range 3 {
			f.Add(writeMeta(f, v, WriteOptions{Version: version, Meta: everything()}))
		}
	}
	var z bytes.Buffer
	if err := WriteGzip(&z, volume(imaging.Identity()), WriteOptions{}); err != nil {
		f.Fatal(err)
	}
	f.Add(z.Bytes())
	f.Add(make([]byte, 348))
	f.Add(promising(f, false))
	f.Add(promising(f, true))
	addFiles(f, "nifti_variants", "5D_small.nii", "air2.hdr.gz", "air.hdr.gz")
	f.Fuzz(func(t *testing.T, data []byte) {
		open := func() (*raw.Source, error) {
			return raw.NewSource(bytes.NewReader(data), int64(len(data))).Unzip()
		}
		checkReading(t, open, data)
	})
}

// FuzzReadPair reads a header whose voxels are in a second file.
func FuzzReadPair(f *testing.F) {
	for version := range 3 {
		var hdr, img bytes.Buffer
		if err := WritePair(&hdr, &img, volume(imaging.Identity()), WriteOptions{Version: version, Meta: everything3D()}); err != nil {
			f.Fatal(err)
		}
		f.Add(hdr.Bytes(), img.Bytes())
	}
	for _, stem := range []string{"air", "air2"} {
		folder := filepath.Join(testkit.SharedDir(f), "data", "nifti_variants")
		hdr, err := os.ReadFile(filepath.Join(folder, stem+".hdr.gz"))
		img, imgErr := os.ReadFile(filepath.Join(folder, stem+".img.gz"))
		if errors.Join(err, imgErr) == nil {
			f.Add(hdr, img[:min(len(img), 4096)])
		}
	}
	f.Fuzz(func(t *testing.T, hdr, img []byte) {
		open := func() (*raw.Source, error) {
			s := raw.NewSource(bytes.NewReader(hdr), int64(len(hdr)))
			s.SetOpener(func(string) (*raw.Source, error) { return raw.NewSource(bytes.NewReader(img), int64(len(img))), nil })
			return s.Unzip()
		}
		checkReading(t, open, hdr, img)
	})
}

// checkReading reads a file in the three ways, which must agree, within memory
// that follows from the length of the files and from the limits, and writes back
// what came out.
func checkReading(t *testing.T, open func() (*raw.Source, error), files ...[]byte) {
	t.Helper()
	var v *imaging.Volume
	var m Meta
	var err, checkErr error
	yield := rawtest.Yield(files...)
	rawtest.Bounded(t, "reading", yield, fuzzLimits.MaxBytes, func() {
		var s *raw.Source
		if s, err = open(); err == nil {
			v, m, err = ReadWithMeta(t.Context(), s, "x.hdr", fuzzLimits)
		}
	})
	rawtest.Bounded(t, "checking", yield, 0, func() {
		var s *raw.Source
		if s, checkErr = open(); checkErr == nil {
			checkErr = Check(t.Context(), s, "x.hdr", fuzzLimits)
		}
	})
	if (checkErr == nil) != (err == nil) {
		t.Fatalf("reading says %v, checking %v", err, checkErr)
	}
	if err != nil {
		return
	}
	if err := v.Validate(); err != nil {
		t.Fatalf("an invalid volume was read: %v", err)
	}
	if size := int64(v.Data.Len() * v.Data.Type().Size()); size > min(yield, fuzzLimits.MaxBytes) {
		t.Fatalf("%d bytes of voxels came out of files that can yield %d", size, yield)
	}
	s, _ := open()
	plain, err := Read(t.Context(), s, "x.hdr", fuzzLimits)
	if err != nil || plain.Grid != v.Grid {
		t.Fatalf("read with metadata, but without: %v", err)
	}
	var b bytes.Buffer
	if err := Write(&b, v, WriteOptions{Meta: &m}); err != nil {
		t.Fatalf("what was read cannot be written: %v", err)
	}
	again, _, err := ReadWithMeta(t.Context(), raw.NewSource(&b, -1), "x.nii", fuzzLimits)
	if err != nil || again.Channels != v.Channels || again.Size != v.Size {
		t.Fatalf("written and read again: %v", err)
	}
	if again.Grid != v.Grid || again.Slope != v.Slope && again.Data.Type() == v.Data.Type() {
		t.Fatalf("grid %v became %v", v.Grid, again.Grid)
	}
	if again.Data.Type() == v.Data.Type() && v.Data.Type().Size() < 4 && !reflect.DeepEqual(again.Data, v.Data) {
		t.Fatal("voxels differ")
	}
}

// promising is a file whose header declares 3 MiB more voxels than it holds.
func promising(f *testing.F, compress bool) []byte {
	f.Helper()
	v := volume(imaging.Identity())
	b := writeMeta(f, v, WriteOptions{})
	binary.LittleEndian.PutUint16(b[42:], 1536)
	binary.LittleEndian.PutUint16(b[44:], 256) // of 5 slices of int16
	if !compress {
		return b
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(b); err != nil {
		f.Fatal(err)
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	return z.Bytes()
}

// addFiles adds small real files as seeds where they are present.
func addFiles(f *testing.F, folder string, names ...string) {
	f.Helper()
	for _, n := range names {
		b, err := os.ReadFile(filepath.Join(testkit.SharedDir(f), "data", folder, n))
		if err == nil {
			f.Add(b)
		}
	}
}
