package codec_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/imaging/nrrd"
	"github.com/voxloop/voxloop/internal/testkit"
)

// plastimatch converts a file with ITK's readers and writers, which Debian
// brings as this program's library.
func plastimatch(t *testing.T, in, out string) {
	t.Helper()
	tool := testkit.NeedTool(t, "plastimatch", "run `make test-deps` (Debian package plastimatch)")
	b, err := exec.CommandContext(t.Context(), tool, "convert", "--input", in, "--output-img", out).CombinedOutput()
	if err != nil {
		t.Fatalf("plastimatch: %v\n%s", err, b)
	}
	if _, err := os.Stat(out); err != nil {
		t.Fatalf("plastimatch wrote nothing:\n%s", b)
	}
}

// metaImage is a file of ITK's own simple format, in LPS.
type metaImage struct {
	size    [3]int
	kind    string
	affine  imaging.Affine // in RAS
	numbers []float64
}

var metaTypes = map[string]any{
	"MET_UCHAR": []uint8{}, "MET_CHAR": []int8{}, "MET_USHORT": []uint16{}, "MET_SHORT": []int16{}, "MET_UINT": []uint32{}, "MET_INT": []int32{},
	"MET_FLOAT": []float32{}, "MET_DOUBLE": []float64{},
}

// readMetaImage reads what ITK writes: text, then the voxels.
func readMetaImage(t *testing.T, path string) metaImage {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, voxels, ok := bytes.Cut(b, []byte("ElementDataFile = LOCAL\n"))
	if !ok {
		t.Fatalf("%s: no local voxels", path)
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(head)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), " = "); ok {
			fields[k] = v
		}
	}
	var m metaImage
	list := func(name string, n int) []float64 {
		words := strings.Fields(fields[name])
		if len(words) != n {
			t.Fatalf("%s = %q", name, fields[name])
		}
		out := make([]float64, n)
		for i, w := range words {
			if out[i], err = strconv.ParseFloat(w, 64); err != nil {
				t.Fatal(err)
			}
		}
		return out
	}
	for i, n := range list("DimSize", 3) {
		m.size[i] = int(n)
	}
	m.kind = fields["ElementType"]
	m.affine = imaging.Identity()
	sign, origin, spacing, matrix := [3]float64{-1, -1, 1}, list("Offset", 3), list("ElementSpacing", 3), list("TransformMatrix", 9)
	for i := range 3 {
		m.affine[i][3] = sign[i] * origin[i]
		for j := range 3 {
			m.affine[i][j] = sign[i] * matrix[3*j+i] * spacing[j] // the file lists the axes one behind the other
		}
	}
	m.numbers = numbers(t, m.kind, voxels, m.size[0]*m.size[1]*m.size[2])
	return m
}

func numbers(t *testing.T, kind string, b []byte, n int) []float64 {
	t.Helper()
	out := make([]float64, n)
	r := bytes.NewReader(b)
	for i := range out {
		var err error
		switch metaTypes[kind].(type) {
		case []uint8:
			out[i], err = next[uint8](r)
		case []int8:
			out[i], err = next[int8](r)
		case []uint16:
			out[i], err = next[uint16](r)
		case []int16:
			out[i], err = next[int16](r)
		case []uint32:
			out[i], err = next[uint32](r)
		case []int32:
			out[i], err = next[int32](r)
		case []float32:
			out[i], err = next[float32](r)
		case []float64:
			out[i], err = next[float64](r)
		default:
			err = fmt.Errorf("unknown type %q", kind)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func next[T imaging.Number](r *bytes.Reader) (float64, error) {
	var v T
	err := binary.Read(r, binary.LittleEndian, &v)
	return float64(v), err
}

func checkMetaImage(t *testing.T, v *imaging.Volume, m metaImage, tolerance float64) {
	t.Helper()
	if m.size != v.Size {
		t.Fatalf("ITK says %v, the volume has %v", m.size, v.Size)
	}
	if d := affineDiff(v.Affine, m.affine); d > tolerance {
		t.Errorf("affine differs by %g:\n%v\n%v", d, v.Affine, m.affine)
	}
	for i, got := range m.numbers {
		if want := v.Data.At(i)*v.Slope + v.Intercept; math.Abs(got-want) > 1e-6*math.Abs(want) {
			t.Fatalf("voxel %d is %g for ITK, %g for us", i, got, want)
		}
	}
}

func TestITKReadsWhatWeWrite(t *testing.T) {
	dir := t.TempDir()
	g := imaging.Grid{Size: [3]int{5, 4, 3}, Affine: affines["oblique"]}
	check := func(name string, v *imaging.Volume, o codec.WriteOptions) {
		t.Run(name, func(t *testing.T) {
			path, out := filepath.Join(dir, name), filepath.Join(dir, name+".mha")
			if err := codec.WriteFile(t.Context(), path, v, o); err != nil {
				t.Fatal(err)
			}
			plastimatch(t, path, out)
			checkMetaImage(t, v, readMetaImage(t, out), 1e-4)
		})
	}
	for name, a := range affines {
		check(strings.ReplaceAll(name, " ", "_")+".nrrd", numbered(imaging.Grid{Size: g.Size, Affine: a}, 1, imaging.Int16), codec.WriteOptions{})
	}
	for _, dt := range []imaging.DataType{imaging.Uint8, imaging.Int16, imaging.Uint16, imaging.Int32, imaging.Uint32, imaging.Float32} {
		check(dt.String()+".nii.gz", numbered(g, 1, dt), codec.WriteOptions{})
		check(dt.String()+".nrrd", numbered(g, 1, dt), codec.WriteOptions{Compress: true})
	}
	check("pair.img", numbered(imaging.Grid{Size: g.Size, Affine: affines["permuted"]}, 1, imaging.Int16), codec.WriteOptions{})
	check("labels.seg.nrrd", numbered(g, 1, imaging.Uint8), codec.WriteOptions{Compress: true, Segments: []nrrd.Segment{{Value: 1}}})
	scaled := numbered(g, 1, imaging.Int16)
	scaled.Slope, scaled.Intercept = 0.25, -1024
	check("scaled.nii", scaled, codec.WriteOptions{})
}

func TestReadsWhatITKWrites(t *testing.T) {
	dir := t.TempDir()
	src := testkit.Shared(t, "data", "nifti_orientations", "FLAIR.nrrd")
	plain := filepath.Join(dir, "flair.mha")
	plastimatch(t, src, plain)
	m := readMetaImage(t, plain)
	for _, name := range []string{"a.nii", "a.nii.gz", "a.nrrd", "a.nhdr", "a.hdr"} {
		path := filepath.Join(dir, name)
		plastimatch(t, src, path)
		f, err := codec.ReadFile(t.Context(), path, codec.Limits{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		checkMetaImage(t, f.Volume, m, 1e-4)
	}
}

// One brain in 48 orders of the axes: ITK places each of them as we do.
func TestITKAgreesOnOrientations(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testkit.Shared(t, "data", "nifti_orientations", "nifti_space"), "*.nii.gz"))
	if err != nil || len(files) != 48 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	if testing.Short() {
		files = files[:6]
	}
	for _, f := range files {
		v, err := codec.Read(t.Context(), f, codec.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "a.mha")
		plastimatch(t, f, out)
		checkMetaImage(t, v, readMetaImage(t, out), 1e-3)
	}
}
