package nrrd

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
	"github.com/voxloop/voxloop/internal/imaging/codec/rawtest"
	"github.com/voxloop/voxloop/internal/testkit"
)

// fuzzLimits keep a run in a few megabytes.
var fuzzLimits = raw.Limits{MaxBytes: 1 << 22}

func FuzzReadNRRD(f *testing.F) {
	f.Add([]byte("NRRD0004\ntype: short\ndimension: 3\nsizes: 2 1 1\nendian: big\nencoding: raw\n\nabcd"))
	f.Add([]byte("NRRD0005\r\ntype: uchar\r\ndimension: 4\r\nsizes: 2 1 1 1\r\nspace directions: none (1,0,0) (0,1,0) (0,0,1)\r\nencoding: hex\r\na:=b\r\n\r\n0aff"))
	f.Add([]byte("NRRD0003\ntype: float\ndimension: 1\nsizes: 2\nencoding: ascii\nbyte skip: -1\n\n1 2"))
	f.Add([]byte("NRRD0003\ntype: uchar\ndimension: 1\nsizes: 2\nencoding: gzip\nline skip: 1\nbyte skip: -1\n\n\n\x1f\x8b"))
	for _, compress := range []bool{true, false} {
		f.Add(segmented(f, compress))
	}
	for _, encoding := range []string{"raw", "ascii", "gzip", "gzip\nbyte skip: -1", "hex", "bzip2"} { // 3 MiB promised
		head := "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 1536 2048 1\nencoding: " + encoding + "\n\n"
		f.Add(append([]byte(head), zip([]byte("12 34"))...))
	}
	f.Add(append([]byte("NRRD0004\ntype: uchar\ndimension: 2\nsizes: 4096 4\nspace directions: none (1,0,0)\nencoding: gz\n\n"), zip(make([]byte, 4*4096))...))
	addFiles(f, "nrrd_pynrrd", "test1d_ascii.nrrd", "test2d_ascii.nrrd", "test_simple4d_raw.nrrd", "BallBinary30x30x30_gz.nrrd", "BallBinary30x30x30_bz2.nrrd")
	f.Fuzz(func(t *testing.T, data []byte) { checkReading(t, data, nil) })
}

// FuzzDataFiles reads a detached header beside two data files.
func FuzzDataFiles(f *testing.F) {
	head := "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 1 2\nencoding: "
	for _, encoding := range []string{"raw", "ascii", "gzip\nbyte skip: -1", "hex\nline skip: 1", "bzip2"} {
		for _, file := range []string{"a", "LIST\na\nb", "LIST\na\na", "LIST 3\nb\na\n", "%d 1 2 1", "%02i.raw 9 1 -8 2"} {
			f.Add([]byte(head+encoding+"\ndata file: "+file), []byte("1 2\n"), []byte("3 4"))
		}
	}
	for _, sizes := range []string{"1 1 1", "1 1 60000"} { // names are made when they are needed
		f.Add([]byte("NRRD0004\ntype: uchar\ndimension: 3\nencoding: raw\nsizes: "+sizes+"\ndata file: %d 1 60000 1"), []byte("1"), []byte("2"))
	}
	f.Add([]byte(head+"gzip\ndata file: LIST\na\nb"), zip([]byte("ab")), zip([]byte("cd")))
	for _, n := range []string{"BallBinary30x30x30.nhdr", "BallBinary30x30x30_byteskip_minus_one_nifti.nhdr"} {
		if b, err := os.ReadFile(filepath.Join(testkit.SharedDir(f), "data", "nrrd_pynrrd", n)); err == nil {
			f.Add(b, bytes.Repeat([]byte{1}, 54000), []byte{})
		}
	}
	f.Fuzz(func(t *testing.T, header, a, b []byte) { checkReading(t, header, [][]byte{a, b}) })
}

// beside is what lies beside a header: whatever name the header asks for first
// is the first of files, the next name the second one; there are no more.
type beside struct {
	files [][]byte
	names []string
}

func (f *beside) open(name string) (*raw.Source, error) {
	i := slices.Index(f.names, name)
	if i < 0 {
		if i = len(f.names); i == len(f.files) {
			return nil, fault.New(fault.NotFound, "the file does not exist")
		}
		f.names = append(f.names, name)
	}
	return raw.NewSource(bytes.NewReader(f.files[i]), int64(len(f.files[i]))), nil
}

// checkReading reads a file in the three ways, which must agree, within memory
// that follows from the length of the files and from the limits.
func checkReading(t *testing.T, data []byte, files [][]byte) {
	t.Helper()
	source := func() *raw.Source {
		s := raw.NewSource(bytes.NewReader(data), int64(len(data)))
		if files != nil {
			s.SetOpener((&beside{files: files}).open)
		}
		return s
	}
	var v *imaging.Volume
	var meta Meta
	var err, checkErr error
	yield := rawtest.Yield(append([][]byte{data}, files...)...)
	rawtest.Bounded(t, "reading", yield, fuzzLimits.MaxBytes, func() { v, meta, err = ReadWithMeta(t.Context(), source(), fuzzLimits) })
	rawtest.Bounded(t, "checking", yield, 0, func() { checkErr = Check(t.Context(), source(), fuzzLimits) })
	if (checkErr == nil) != (err == nil) {
		t.Fatalf("reading says %v, checking %v", err, checkErr)
	}
	if err != nil {
		return
	}
	if err := v.Validate(); err != nil {
		t.Fatalf("an invalid volume was read: %v", err)
	}
	if meta.Version < 1 || meta.Version > 5 || meta.Axes != nil && raw.Channels(meta.Axes) != v.Channels {
		t.Fatalf("%d channels, %+v", v.Channels, meta)
	}
	plain, err := Read(t.Context(), source(), fuzzLimits)
	if err != nil || plain.Grid != v.Grid {
		t.Fatalf("read with metadata, but without: %v", err)
	}
	var b bytes.Buffer
	o := WriteOptions{Content: meta.Content, Axes: meta.Axes}
	if err := Write(&b, v, o); err != nil {
		t.Fatalf("what was read cannot be written: %v", err)
	}
	again, err := Read(t.Context(), raw.NewSource(&b, -1), fuzzLimits)
	if err != nil || again.Grid != v.Grid || again.Channels != v.Channels || again.Data.Type() != v.Data.Type() {
		t.Fatalf("written and read again: %v", err)
	}
	if v.Data.Type() < imaging.Float32 && !reflect.DeepEqual(again.Data, v.Data) {
		t.Fatal("voxels differ")
	}
}

// FuzzSegments reads the key:=value lines of a segmentation.
func FuzzSegments(f *testing.F) {
	g := imaging.Grid{Size: [3]int{4, 5, 6}, Affine: imaging.Identity()}
	f.Add(lines(SegmentPairs(g, []Segment{{Name: "spleen", Value: 3, Layer: 1, Color: [3]float64{1, 0.5, 0}, Tags: "a:b|c:d"}, {}})))
	f.Add("Segment0_ID:=\\n\nSegment0_Color:=1e-300 0 1\nSegment000000_Name:=x\nSegment1_Extent:=0 0 0 0 0 0\nx:=y")
	for _, n := range []string{"Segmentation.seg.nrrd", "SegmentationOverlapping.seg.nrrd"} {
		b, err := os.ReadFile(filepath.Join(testkit.SharedDir(f), "data", "nrrd_slicerio", n))
		if err == nil {
			head, _, _ := strings.Cut(string(b), "\n\n")
			_, pairs, _ := strings.Cut(head, "Segment0")
			f.Add("Segment0" + pairs)
		}
	}
	f.Fuzz(func(t *testing.T, pairs string) {
		head := "NRRD0004\ntype: uchar\ndimension: 1\nsizes: 1\nencoding: raw\n" + pairs + "\n\nx"
		_, m, err := ReadWithMeta(t.Context(), raw.NewSource(strings.NewReader(head), int64(len(head))), fuzzLimits)
		if err != nil {
			return
		}
		segments, err := m.Segments()
		if err != nil {
			return
		}
		written := Meta{Pairs: m.WithSegments(g, segments)}
		again, err := written.Segments()
		if err != nil || len(again) != len(segments) {
			t.Fatalf("%d segments became %d: %v", len(segments), len(again), err)
		}
		for i, s := range again {
			if s.Value != segments[i].Value || s.Layer != segments[i].Layer || s.Tags != segments[i].Tags || s.ID == "" || s.Name == "" || !s.Extent.within(g) {
				t.Fatalf("%+v became %+v", segments[i], s)
			}
		}
	})
}

func lines(pairs []KeyValue) string {
	var b strings.Builder
	for _, p := range pairs {
		b.WriteString(escaper.Replace(p.Key) + ":=" + escaper.Replace(p.Value) + "\n")
	}
	return b.String()
}

// segmented is a small segmentation of two layers.
func segmented(f *testing.F, compress bool) []byte {
	f.Helper()
	var b bytes.Buffer
	v := imaging.NewVolume(imaging.Grid{Size: [3]int{2, 3, 4}, Affine: imaging.Identity()}, 2, imaging.Float32)
	o := WriteOptions{Compress: compress, Pairs: SegmentPairs(v.Grid, []Segment{{Value: 1}, {Value: 1, Layer: 1}})}
	if err := Write(&b, v, o); err != nil {
		f.Fatal(err)
	}
	return b.Bytes()
}

func addFiles(f *testing.F, folder string, names ...string) {
	f.Helper()
	for _, n := range names {
		b, err := os.ReadFile(filepath.Join(testkit.SharedDir(f), "data", folder, n))
		if err == nil {
			f.Add(b)
		}
	}
}
