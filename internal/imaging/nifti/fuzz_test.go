package nifti

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
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
	addFiles(f, "nifti_variants", "5D_small.nii", "air2.hdr.gz", "air.hdr.gz")
	f.Fuzz(func(t *testing.T, data []byte) {
		open := func() (*raw.Source, error) {
			return raw.NewSource(bytes.NewReader(data), int64(len(data))).Unzip()
		}
		checkReading(t, open, int64(len(data)))
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
		checkReading(t, open, int64(len(hdr)+len(img)))
	})
}

// checkReading reads a file in the three ways, which must agree, and writes
// back what came out.
func checkReading(t *testing.T, open func() (*raw.Source, error), length int64) {
	t.Helper()
	s, err := open()
	if err != nil {
		return
	}
	v, m, err := ReadWithMeta(t.Context(), s, "x.hdr", fuzzLimits)
	s, _ = open()
	if checkErr := Check(t.Context(), s, "x.hdr", fuzzLimits); (checkErr == nil) != (err == nil) {
		t.Fatalf("reading says %v, checking %v", err, checkErr)
	}
	if err != nil {
		return
	}
	if err := v.Validate(); err != nil {
		t.Fatalf("an invalid volume was read: %v", err)
	}
	if int64(v.Data.Len()*v.Data.Type().Size()) > length*raw.DeflateRatio {
		t.Fatalf("%d voxels came out of %d bytes", v.Data.Len(), length)
	}
	s, _ = open()
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
