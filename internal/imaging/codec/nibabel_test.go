package codec_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/imaging/nifti"
	"github.com/voxloop/voxloop/internal/testkit"
)

// described is one line of testdata/describe.py.
type described struct {
	Path                 string
	Shape                []int
	DType                string
	Affine, SForm, QForm [4][4]float64
	Codes                [2]int
	Units                string
	Zooms                []float64
	Extensions           [][2]int // code, bytes
	Description          string
	Sum, Weighted        float64
}

func script(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	python := testkit.Python(t, "nibabel", "numpy")
	cmd := exec.CommandContext(t.Context(), python, append([]string{filepath.Join("testdata", name)}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, stderr.Bytes())
	}
	return out
}

func describe(t *testing.T, paths ...string) []described {
	t.Helper()
	var all []described
	for line := range bytes.Lines(script(t, "describe.py", paths...)) {
		var d described
		if err := json.Unmarshal(line, &d); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, d)
	}
	if len(all) != len(paths) {
		t.Fatalf("nibabel described %d of %d files", len(all), len(paths))
	}
	return all
}

// checkDescribed compares a volume with what nibabel reads from its file.
func checkDescribed(t *testing.T, v *imaging.Volume, d described) {
	t.Helper()
	channels, size := 1, [3]int{1, 1, 1}
	for i, n := range d.Shape {
		if i < 3 {
			size[i] = n
		} else {
			channels *= n
		}
	}
	if v.Size != size || v.Channels != channels || v.Data.Type().String() != d.DType {
		t.Errorf("%v × %d %s, nibabel says %v %s", v.Size, v.Channels, v.Data.Type(), d.Shape, d.DType)
	}
	if diff := affineDiff(v.Affine, d.Affine); diff > 1e-5 {
		t.Errorf("affine differs by %g:\n%v\n%v", diff, v.Affine, d.Affine)
	}
	sum, weighted := checksums(v)
	if !near(sum, d.Sum) || !near(weighted, d.Weighted) {
		t.Errorf("sums %g, %g; nibabel says %g, %g", sum, weighted, d.Sum, d.Weighted)
	}
}

// checksums returns the sum of all values and one that depends on their order.
func checksums(v *imaging.Volume) (sum, weighted float64) {
	for i := range v.Data.Len() {
		f := v.Data.At(i)*v.Slope + v.Intercept
		sum += f
		weighted += f * float64(i%97+1)
	}
	return sum, weighted
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*(math.Abs(a)+math.Abs(b))+1e-9 }

func TestReadsWhatNibabelWrites(t *testing.T) {
	made := strings.Fields(string(script(t, "make_nifti.py", t.TempDir())))
	if len(made) != 40+12+1 {
		t.Fatalf("%d files were made", len(made))
	}
	for _, d := range describe(t, made...) {
		t.Run(filepath.Base(d.Path), func(t *testing.T) {
			v, err := codec.Read(t.Context(), d.Path, codec.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			checkDescribed(t, v, d)
		})
	}
}

// affines for round trips: plain, flipped, permuted, oblique with and without
// mirroring, half turns (where quaternions lose digits), sheared.
var affines = map[string]imaging.Affine{
	"identity":  imaging.Identity(),
	"lps":       {{-0.7, 0, 0, 90}, {0, -0.7, 0, 120.5}, {0, 0, 2.5, -300}, {0, 0, 0, 1}},
	"mirrored":  {{-2, 0, 0, 90}, {0, 2, 0, -126}, {0, 0, 2, -72}, {0, 0, 0, 1}},
	"permuted":  {{0, 0, 2.4, -23.3}, {-2.39, 0, 0, 18.3}, {0, -2.37, 0, 37.1}, {0, 0, 0, 1}},
	"oblique":   oblique(0.4, -0.3, 0.9, [3]float64{0.9, 1.1, 2.5}),
	"obliqueLH": oblique(0.4, -0.3, 0.9, [3]float64{-0.9, 1.1, 2.5}),
	"half turn": oblique(math.Pi, 0.3, 0.2, [3]float64{1, 1, 1}),
	"near half": oblique(math.Pi-1e-4, 0.001, 2.1, [3]float64{0.5, 0.5, 5}),
}

var sheared = imaging.Affine{{-0.8, 0.1, 0.2, 30}, {0.1, 1.1, -0.3, -20}, {0.05, 0.2, 2.4, 7}, {0, 0, 0, 1}}

// oblique turns about x, then y, then z (radians), after scaling the axes.
func oblique(rx, ry, rz float64, spacing [3]float64) imaging.Affine {
	a := imaging.Affine{{1, 0, 0, -101.3}, {0, 1, 0, 55.7}, {0, 0, 1, 1234.5}, {0, 0, 0, 1}}
	for axis, angle := range []float64{rx, ry, rz} {
		r := imaging.Identity()
		i, j := (axis+1)%3, (axis+2)%3
		s, c := math.Sincos(angle)
		r[i][i], r[i][j], r[j][i], r[j][j] = c, -s, s, c
		a = a.Mul(r)
	}
	d := imaging.Identity()
	for i, s := range spacing {
		d[i][i] = s
	}
	return a.Mul(d)
}

// numbered fills a volume with values that fit every type and tell order.
func numbered(g imaging.Grid, channels int, t imaging.DataType) *imaging.Volume {
	v := imaging.NewVolume(g, channels, t)
	src := make([]uint16, v.Data.Len())
	for i := range src {
		src[i] = uint16(i * 7 % 101)
	}
	l := imaging.LabelMap{Grid: imaging.Grid{Size: [3]int{len(src), 1, 1}, Affine: imaging.Identity()}, Data: src}
	line, err := l.Volume(t)
	if err != nil {
		panic(err)
	}
	v.Data = line.Data
	return v
}

func writeFile(t *testing.T, path string, v *imaging.Volume, o codec.WriteOptions) {
	t.Helper()
	var b bytes.Buffer
	if err := codec.Write(&b, codec.Ext(path), v, o); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestNibabelReadsWhatWeWrite(t *testing.T) {
	dir := t.TempDir()
	volumes := map[string]*imaging.Volume{}
	add := func(name string, v *imaging.Volume) {
		path := filepath.Join(dir, name)
		writeFile(t, path, v, codec.WriteOptions{})
		volumes[path] = v
	}
	for dt := imaging.Uint8; dt <= imaging.Float64; dt++ {
		g := imaging.Grid{Size: [3]int{5, 4, 3}, Affine: affines["oblique"]}
		add(dt.String()+".nii.gz", numbered(g, 1+int(dt)%2*2, dt))
	}
	for name, a := range affines {
		g := imaging.Grid{Size: [3]int{5, 4, 3}, Affine: a}
		add(strings.ReplaceAll(name, " ", "_")+".nii", numbered(g, 1, imaging.Int16))
	}
	scaled := numbered(imaging.Grid{Size: [3]int{5, 4, 3}, Affine: affines["lps"]}, 1, imaging.Int16)
	scaled.Slope, scaled.Intercept = 0.25, -1024
	add("scaled.nii.gz", scaled)
	for _, d := range describe(t, slices.Sorted(maps.Keys(volumes))...) {
		t.Run(filepath.Base(d.Path), func(t *testing.T) {
			v := volumes[d.Path]
			checkDescribed(t, v, d)
			for form, m := range map[string][4][4]float64{"sform": d.SForm, "qform": d.QForm} {
				if diff := affineDiff(v.Affine, m); diff > 1e-4 {
					t.Errorf("the %s differs by %g:\n%v\n%v", form, diff, v.Affine, m)
				}
			}
			if d.Codes != [2]int{1, 1} || d.Units != "mm" {
				t.Errorf("sform and qform codes %v, units %q", d.Codes, d.Units)
			}
		})
	}
}

// NIfTI-2, pairs, five dimensions, extensions and a description.
func TestNibabelReadsTheRest(t *testing.T) {
	dir := t.TempDir()
	g := imaging.Grid{Size: [3]int{5, 4, 3}, Affine: affines["obliqueLH"]}
	meta := nifti.Meta{
		Dim: []int{5, 4, 3, 2, 3}, Step: [4]float64{2.5, 1, 1, 1}, Units: 2 | 8, Description: "five dimensions",
		Extensions: []nifti.Extension{{Code: 6, Data: []byte("a comment of 24 bytes   ")}, {Code: 6, Data: bytes.Repeat([]byte("7"), 40)}},
	}
	for _, name := range []string{"a.nii", "a.nii.gz", "b.hdr", "c.img.gz"} {
		for version := 1; version <= 2; version++ {
			t.Run(fmt.Sprint(version, name), func(t *testing.T) {
				path := filepath.Join(dir, fmt.Sprint(version, name))
				v := numbered(g, 6, imaging.Int16)
				if err := codec.WriteFile(t.Context(), path, v, codec.WriteOptions{NIfTI: &meta, NIfTIVersion: version}); err != nil {
					t.Fatal(err)
				}
				d := describe(t, path)[0]
				checkDescribed(t, v, d)
				if !slices.Equal(d.Shape, meta.Dim) || d.Zooms[3] != 2.5 || d.Description != meta.Description {
					t.Errorf("shape %v, zooms %v, description %q", d.Shape, d.Zooms, d.Description)
				}
				if !slices.Equal(d.Extensions, [][2]int{{6, 24}, {6, 40}}) {
					t.Errorf("extensions %v", d.Extensions)
				}
				if diff := affineDiff(d.QForm, d.SForm); diff > 1e-5 {
					t.Errorf("sform and qform differ by %g", diff)
				}
			})
		}
	}
}

func TestShearedGridKeepsItsSform(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sheared.nii")
	v := numbered(imaging.Grid{Size: [3]int{5, 4, 3}, Affine: sheared}, 1, imaging.Uint8)
	writeFile(t, path, v, codec.WriteOptions{})
	d := describe(t, path)[0]
	if diff := affineDiff(v.Affine, d.SForm); diff > 1e-6 {
		t.Errorf("the sform differs by %g", diff)
	}
	// The polar decomposition of the unit columns as NumPy's SVD gives it
	// (U·Vᵀ), times the voxel sizes: what nibabel's own set_qform stores.
	in, err := json.Marshal(v.Affine)
	if err != nil {
		t.Fatal(err)
	}
	var want [4][4]float64
	if err := json.Unmarshal(script(t, "polar.py", string(in)), &want); err != nil {
		t.Fatal(err)
	}
	if diff := affineDiff(d.QForm, want); diff > 1e-5 {
		t.Errorf("the qform differs by %g from nibabel's:\n%v\n%v", diff, d.QForm, want)
	}
	if diff := affineDiff(d.QForm, d.SForm); diff < 0.05 {
		t.Errorf("the qform cannot hold a shear, but differs by only %g", diff)
	}
}

func TestNibabelAgreesOnRealFiles(t *testing.T) {
	root := testkit.Shared(t, "data")
	var paths []string
	for _, pattern := range []string{
		"nifti_orientations/nifti_space/*.nii.gz", "nifti_orientations/hippo.nii.gz", "sts_nifti/STS_008/*.nii.gz",
		"nifti_variants/a*.nii*", "nifti_variants/*.hdr.gz", "nifti_variants/5D_small.nii", "nifti_variants/[blw]*.nii.gz",
	} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("no files %s: %v", pattern, err)
		}
		paths = append(paths, found...)
	}
	for _, d := range describe(t, paths...) {
		t.Run(filepath.Base(d.Path), func(t *testing.T) {
			v, err := codec.Read(t.Context(), d.Path, codec.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			checkDescribed(t, v, d)
		})
	}
}
