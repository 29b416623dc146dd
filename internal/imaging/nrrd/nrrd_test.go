package nrrd

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
)

func readText(t testing.TB, text string) (*imaging.Volume, Meta, error) {
	t.Helper()
	return ReadWithMeta(t.Context(), raw.NewSource(strings.NewReader(text), int64(len(text))), raw.Limits{})
}

func TestHeaderSpellings(t *testing.T) {
	const data = "1 2 3 4 5 6"
	for name, text := range map[string]string{
		"plain":            "NRRD0001\ntype: uchar\ndimension: 3\nsizes: 3 2 1\nencoding: ascii\n\n",
		"CRLF":             "NRRD0005\r\ntype: uchar\r\ndimension: 3\r\nsizes: 3 2 1\r\nencoding: ascii\r\n\r\n",
		"white space":      "NRRD0004\ntype:   unsigned   char  \ndimension:\t3\nsizes:  3\t 2  1 \nencoding:  ascii\n\n",
		"case":             "NRRD0004\nType: UChar\nDIMENSION: 3\nSizes: 3 2 1\nEncoding: ASCII\n\n",
		"no space":         "NRRD0004\ntype:uint8\ndimension:3\nsizes:3 2 1\nencoding:text\n\n",
		"comments, pairs":  "NRRD0004\n# a: b\ntype: uint8_t\nk:=v: w\n#\ndimension: 3\nsizes: 3 2 1\nencoding: txt\n\n",
		"repeated, equal":  "NRRD0004\ntype: uchar\ntype: uchar\ndimension: 3\nsizes: 3 2 1\nencoding: ascii\n\n",
		"unknown field":    "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 3 2 1\ncolour: red\nencoding: ascii\n\n",
		"old magic":        "NRRD00.01\ntype: uchar\ndimension: 3\nsizes: 3 2 1\nencoding: ascii\n\n",
		"line and byte":    "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 3 2 1\nencoding: ascii\nline skip: 2\nbyteskip: 3\n\nfirst\nsecond\n9 9",
		"pair like a skip": "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 3 2 1\nencoding: ascii\nline skip:= 2\n\n",
	} {
		v, _, err := readText(t, text+data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := v.Data.(imaging.Samples[uint8]); v.Size != [3]int{3, 2, 1} || !slices.Equal(d, []uint8{1, 2, 3, 4, 5, 6}) {
			t.Errorf("%s: %v %v", name, v.Size, d)
		}
	}
}

func TestMetaKeepsPairsInOrder(t *testing.T) {
	v := imaging.NewVolume(imaging.Grid{Size: [3]int{2, 1, 1}, Affine: imaging.Identity()}, 1, imaging.Uint8)
	pairs := []KeyValue{{"b", "1"}, {"a", "x: y := z"}, {"c d", `two\lines` + "\n" + `\n stays`}, {"empty", ""}, {"ü", "é"}}
	var b bytes.Buffer
	if err := Write(&b, v, WriteOptions{Pairs: pairs}); err != nil {
		t.Fatal(err)
	}
	_, meta, err := ReadWithMeta(t.Context(), raw.NewSource(&b, -1), raw.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if meta.Version != 4 || meta.Space != "left-posterior-superior" || !slices.Equal(meta.Pairs, pairs) {
		t.Errorf("%+v", meta)
	}
	if s, ok := meta.Get("a"); !ok || s != "x: y := z" {
		t.Errorf("a is %q", s)
	}
	for _, key := range []string{"", "#x", "a:b"} {
		if err := Write(&bytes.Buffer{}, v, WriteOptions{Pairs: []KeyValue{{key, "v"}}}); err == nil {
			t.Errorf("key %q was written", key)
		}
	}
}

// Expected affines of the cases marked ITK were read with SimpleITK 2.5.7 and
// converted to RAS; the others follow from the format's definition.
func TestPlace(t *testing.T) {
	rows := func(m ...[4]float64) imaging.Affine { return imaging.Affine{m[0], m[1], m[2], {0, 0, 0, 1}} }
	const oriented = "space directions: (0.5,0.1,0) (0,2,0.3) (0,0,3)\nspace origin: (10,20,30)\n"
	for _, tt := range []struct {
		name, fields string
		want         imaging.Affine
	}{
		{"LPS, ITK", "space: left-posterior-superior\n" + oriented, rows([4]float64{-0.5, 0, 0, -10}, [4]float64{-0.1, -2, 0, -20}, [4]float64{0, 0.3, 3, 30})},
		{"LPS short", "space: LPS\n" + oriented, rows([4]float64{-0.5, 0, 0, -10}, [4]float64{-0.1, -2, 0, -20}, [4]float64{0, 0.3, 3, 30})},
		{"RAS, ITK", "space: right-anterior-superior\n" + oriented, rows([4]float64{0.5, 0, 0, 10}, [4]float64{0.1, 2, 0, 20}, [4]float64{0, 0.3, 3, 30})},
		{"LAS, ITK", "space: left-anterior-superior\n" + oriented, rows([4]float64{-0.5, 0, 0, -10}, [4]float64{0.1, 2, 0, 20}, [4]float64{0, 0.3, 3, 30})},
		{"scanner, ITK", "space: scanner-xyz\n" + oriented, rows([4]float64{-0.5, 0, 0, -10}, [4]float64{-0.1, -2, 0, -20}, [4]float64{0, 0.3, 3, 30})},
		{"space dimension, ITK", "space dimension: 3\n" + oriented, rows([4]float64{-0.5, 0, 0, -10}, [4]float64{-0.1, -2, 0, -20}, [4]float64{0, 0.3, 3, 30})},
		{"blanks in vectors", "space: RAS\nspace directions: ( 0.5 , 0.1 ,0)  (0,2, 0.3)(0,0,3)\nspace origin: ( 10,20 , 30 )\n", rows([4]float64{0.5, 0, 0, 10}, [4]float64{0.1, 2, 0, 20}, [4]float64{0, 0.3, 3, 30})},
		{"no origin", "space: RAS\nspace directions: (1,0,0) (0,1,0) (0,0,1)\n", imaging.Identity()},
		{"spacings, ITK", "spacings: 0.5 2 3\n", rows([4]float64{-0.5, 0, 0, 0}, [4]float64{0, -2, 0, 0}, [4]float64{0, 0, 3, 0})},
		{"spacings with NaN", "spacings: 0.5 nan 3\n", rows([4]float64{-0.5, 0, 0, 0}, [4]float64{0, -1, 0, 0}, [4]float64{0, 0, 3, 0})},
		{"nothing, ITK", "", rows([4]float64{-1, 0, 0, 0}, [4]float64{0, -1, 0, 0}, [4]float64{0, 0, 1, 0})},
		{"spacings in RAS", "space: RAS\nspacings: 0.5 2 3\nspace origin: (1,2,3)\n", rows([4]float64{0.5, 0, 0, 1}, [4]float64{0, 2, 0, 2}, [4]float64{0, 0, 3, 3})},
		{"axis mins, cells, ITK", "spacings: 0.5 2 3\naxis mins: 10 20 30\n", rows([4]float64{-0.5, 0, 0, -10.25}, [4]float64{0, -2, 0, -21}, [4]float64{0, 0, 3, 31.5})},
		{"axis mins, nodes, ITK", "spacings: 0.5 2 3\naxis mins: 10 20 30\ncenters: node node node\n", rows([4]float64{-0.5, 0, 0, -10}, [4]float64{0, -2, 0, -20}, [4]float64{0, 0, 3, 30})},
	} {
		v, _, err := readText(t, "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 1 1\nencoding: raw\n"+tt.fields+"\nab")
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		for i := range 4 {
			for j := range 4 {
				if math.Abs(v.Affine[i][j]-tt.want[i][j]) > 1e-12 {
					t.Errorf("%s: element %d,%d is %g, want %g", tt.name, i, j, v.Affine[i][j], tt.want[i][j])
				}
			}
		}
	}
}

// Twelve voxels 1…12 in different arrangements of axes.
func TestAxesInAndOutOfSpace(t *testing.T) {
	for _, tt := range []struct {
		name, fields string
		size         [3]int
		channels     int
		second       []uint8 // the second channel's voxels, or all of one
	}{
		{"list first", "dimension: 4\nsizes: 2 3 2 1\nspace: RAS\nspace directions: none (1,0,0) (0,1,0) (0,0,1)\n", [3]int{3, 2, 1}, 2, []uint8{2, 4, 6, 8, 10, 12}},
		{"list last", "dimension: 4\nsizes: 3 2 1 2\nspace: RAS\nspace directions: (1,0,0) (0,1,0) (0,0,1) none\n", [3]int{3, 2, 1}, 2, []uint8{7, 8, 9, 10, 11, 12}},
		{"list between", "dimension: 4\nsizes: 3 2 2 1\nspace: RAS\nspace directions: (1,0,0) none (0,1,0) (0,0,1)\n", [3]int{3, 2, 1}, 2, []uint8{4, 5, 6, 10, 11, 12}},
		{"two lists", "dimension: 5\nsizes: 2 3 1 1 2\nspace: RAS\nspace directions: none (1,0,0) (0,1,0) (0,0,1) none\n", [3]int{3, 1, 1}, 4, []uint8{2, 4, 6}},
		{"NaN is none", "dimension: 4\nsizes: 2 3 2 1\nspace: RAS\nspace directions: (nan,nan,nan) (1,0,0) (0,1,0) (0,0,1)\n", [3]int{3, 2, 1}, 2, []uint8{2, 4, 6, 8, 10, 12}},
		{"kind vector", "dimension: 4\nsizes: 2 3 2 1\nkinds: vector domain domain domain\n", [3]int{3, 2, 1}, 2, []uint8{2, 4, 6, 8, 10, 12}},
		{"kind RGB-color", "dimension: 4\nsizes: 3 2 2 1\nkinds: RGB-color space space space\n", [3]int{2, 2, 1}, 3, []uint8{2, 5, 8, 11}},
		{"kind time", "dimension: 4\nsizes: 3 2 1 2\nkinds: domain domain domain time\n", [3]int{3, 2, 1}, 2, []uint8{7, 8, 9, 10, 11, 12}},
		{"four axes, nothing said", "dimension: 4\nsizes: 3 2 1 2\n", [3]int{3, 2, 1}, 2, []uint8{7, 8, 9, 10, 11, 12}},
		{"space and time", "dimension: 4\nsizes: 3 2 1 2\nspace: right-anterior-superior-time\nspace directions: (1,0,0,0) (0,1,0,0) (0,0,1,0) (0,0,0,5)\nspace origin: (0,0,0,9)\n", [3]int{3, 2, 1}, 2, []uint8{7, 8, 9, 10, 11, 12}},
		{"list of one", "dimension: 4\nsizes: 1 3 2 2\nspace: RAS\nspace directions: none (1,0,0) (0,1,0) (0,0,1)\n", [3]int{3, 2, 2}, 1, []uint8{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
		{"flat", "dimension: 2\nsizes: 4 3\n", [3]int{4, 3, 1}, 1, []uint8{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
		{"line", "dimension: 1\nsizes: 12\n", [3]int{12, 1, 1}, 1, []uint8{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
	} {
		v, _, err := readText(t, "NRRD0004\ntype: uchar\nencoding: ascii\n"+tt.fields+"\n1 2 3 4 5 6 7 8 9 10 11 12\n")
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		n := v.Voxels()
		c := min(1, v.Channels-1)
		if got := v.Data.(imaging.Samples[uint8])[c*n : (c+1)*n]; v.Size != tt.size || v.Channels != tt.channels || !slices.Equal(got, tt.second) {
			t.Errorf("%s: %v × %d, %v", tt.name, v.Size, v.Channels, got)
		}
	}
}

// Axes that a file does not have get a direction at right angles to the others.
func TestFlatImagesInSpace(t *testing.T) {
	for _, tt := range []struct{ fields string }{
		{"dimension: 2\nsizes: 4 3\nspace: RAS\nspace directions: (0,2,0) (0,0,3)\n"},
		{"dimension: 2\nsizes: 4 3\nspace dimension: 2\nspace directions: (0.6,0.8) (-1.6,1.2)\n"},
		{"dimension: 1\nsizes: 12\nspace: RAS\nspace directions: (1,2,3)\n"},
		{"dimension: 3\nsizes: 4 1 3\nspace: RAS\nspace directions: (0,2,0) none (0,0,3)\n"},
	} {
		v, _, err := readText(t, "NRRD0004\ntype: uchar\nencoding: raw\n"+tt.fields+"\n123456789abc")
		if err != nil {
			t.Errorf("%q: %v", tt.fields, err)
			continue
		}
		a := v.Affine
		for j := range 3 {
			k := (j + 1) % 3
			if dot := a[0][j]*a[0][k] + a[1][j]*a[1][k] + a[2][j]*a[2][k]; math.Abs(dot) > 1e-12 {
				t.Errorf("%q: axes %d and %d are not at right angles in %v", tt.fields, j, k, a)
			}
		}
		if s := v.Spacing(); s[2] != 1 {
			t.Errorf("%q: spacing %v", tt.fields, s)
		}
	}
}

func TestTextNumbers(t *testing.T) {
	head := "NRRD0004\ndimension: 1\nsizes: 3\nencoding: ascii\ntype: "
	for _, tt := range []struct {
		typ, data string
		want      []float64 // nil: refused
	}{
		{"int8", "-128 127\n0", []float64{-128, 127, 0}},
		{"uint16", "0,65535,1", []float64{0, 65535, 1}},
		{"float", "1.5e3 -2 .25", []float64{1500, -2, 0.25}},
		{"int64", "9007199254740991 -1 0 trailing is ignored", []float64{9007199254740991, -1, 0}},
		{"int8", "128 0 0", nil},
		{"uint8", "-1 0 0", nil},
		{"int", "1.5 0 0", nil},
		{"int", "1 2", nil},
		{"int", "1 2 " + strings.Repeat("9", 600), nil},
	} {
		v, _, err := readText(t, head+tt.typ+"\n\n"+tt.data)
		if (err == nil) != (tt.want != nil) {
			t.Errorf("%s %.40q: %v", tt.typ, tt.data, err)
			continue
		}
		for i, w := range tt.want {
			if v.Data.At(i) != w {
				t.Errorf("%s %q: voxel %d is %g", tt.typ, tt.data, i, v.Data.At(i))
			}
		}
	}
}

// The text that ITK's writer and the OHIF viewer's reader agree on.
func TestWrittenText(t *testing.T) {
	v := imaging.NewVolume(imaging.Grid{
		Size: [3]int{2, 1, 1}, Affine: imaging.Affine{{-0.7, 0, 0, 180}, {0, -0.7, 0, 180}, {0, 0, 2.5, -300}, {0, 0, 0, 1}},
	}, 1, imaging.Uint8)
	var b bytes.Buffer
	if err := Write(&b, v, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	want := "NRRD0004\n# Complete NRRD file format specification at:\n# http://teem.sourceforge.net/nrrd/format.html\n" +
		"type: unsigned char\ndimension: 3\nspace: left-posterior-superior\nsizes: 2 1 1\n" +
		"space directions: (0.7,0,0) (0,0.7,0) (0,0,2.5)\nkinds: domain domain domain\nencoding: raw\n" +
		"space origin: (-180,-180,-300)\n\n\x00\x00"
	if b.String() != want {
		t.Errorf("got  %q\nwant %q", b.String(), want)
	}
}
