package codec_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
)

func numberedLabels(g imaging.Grid) *imaging.LabelMap {
	l := imaging.NewLabelMap(g)
	for i := range l.Data {
		l.Data[i] = uint16(i + 1)
	}
	return l
}

// Whatever the order and direction of a label's axes, every label value must
// come out at the world position where it went in.
func TestAlignKeepsEveryLabelInPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dim := rapid.IntRange(1, 6)
		image := imaging.Grid{
			Size:   [3]int{dim.Draw(t, "nx"), dim.Draw(t, "ny"), dim.Draw(t, "nz")},
			Affine: oblique(rapid.Float64Range(-3, 3).Draw(t, "turn"), 0.3, -0.7, [3]float64{0.7, -1.2, 2.5}),
		}
		var m imaging.AxisMap
		copy(m.Source[:], rapid.Permutation([]int{0, 1, 2}).Draw(t, "axes"))
		for i := range m.Flip {
			m.Flip[i] = rapid.Bool().Draw(t, "flip")
		}
		label := numberedLabels(image.Remap(m))
		out, ok := codec.Align(label, image)
		if !ok || out.Grid != image {
			t.Fatalf("not aligned (%v)", ok)
		}
		inv, _ := label.Affine.Inverse()
		for i, got := range out.Data {
			x, y, z := i%image.Size[0], i/image.Size[0]%image.Size[1], i/(image.Size[0]*image.Size[1])
			p := inv.Apply(image.Affine.Apply([3]float64{float64(x), float64(y), float64(z)}))
			j := int(math.Round(p[0])) + label.Size[0]*(int(math.Round(p[1]))+label.Size[1]*int(math.Round(p[2])))
			if want := label.Data[j]; got != want {
				t.Fatalf("voxel %d is %d, but %d lies at its place", i, got, want)
			}
		}
	})
}

func TestAlignLimits(t *testing.T) {
	g := imaging.Grid{Size: [3]int{10, 12, 14}, Affine: affines["oblique"]}
	step := [3]float64{g.Affine[0][0], g.Affine[1][0], g.Affine[2][0]}
	shift := func(voxels float64) imaging.Grid {
		s := g
		for i := range 3 {
			s.Affine[i][3] += step[i] * voxels
		}
		return s
	}
	resized := g
	resized.Size[2]++
	for _, tt := range []struct {
		name string
		grid imaging.Grid
		ok   bool
	}{
		{"same", g, true},
		{"0.9e-3 voxels away", shift(0.9e-3), true},
		{"1.1e-3 voxels away", shift(1.1e-3), false},
		{"a voxel away", shift(1), false},
		{"more slices", resized, false},
		{"flat", imaging.Grid{Size: g.Size}, false},
		{"NaN", imaging.Grid{Size: g.Size, Affine: imaging.Affine{{math.NaN()}}}, false},
	} {
		l := numberedLabels(tt.grid)
		out, ok := codec.Align(l, g)
		if ok != tt.ok {
			t.Errorf("%s: ok is %v", tt.name, ok)
			continue
		}
		if ok && (out.Grid != g || &out.Data[0] != &l.Data[0]) {
			t.Errorf("%s: the grid is not exactly the image's, or unmoved labels were copied", tt.name)
		}
	}
}
