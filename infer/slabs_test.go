package infer

import (
	"fmt"
	"math"
	"testing"
	"testing/fstest"

	"github.com/voxloop/voxloop/internal/imaging"
)

// rotation is an affine of the given spacing, turned about z.
func rotation(angle float64, spacing [3]float64) imaging.Affine {
	c, s := math.Cos(angle), math.Sin(angle)
	return imaging.Affine{{c * spacing[0], -s * spacing[1], 0, 3}, {s * spacing[0], c * spacing[1], 0, -7}, {0, 0, spacing[2], 11}, {0, 0, 0, 1}}
}

// TestSlabs compares results that are restored slab by slab, as small windows
// finish, with those of one window over everything. The network looks at single
// voxels, so both must agree.
func TestSlabs(t *testing.T) {
	flipped := imaging.Affine{{0, 0, -1.5, 40}, {-2, 0, 0, 20}, {0, 1, 0, -5}, {0, 0, 0, 1}}
	crop := "crop: {above: 0.2, margin: 1}\n"
	for _, c := range []struct {
		name, grid string
		affine     imaging.Affine
	}{
		{"finer", "orientation: RAS\nspacing: [0.7, 0.8, 0.9]\n", imaging.Identity()},
		{"coarser", "orientation: LPS\nspacing: [2.2, 1.3, 1.9]\n", imaging.Identity()},
		{"permuted", "orientation: RAS\nspacing: [1.1, 1.2, 1.3]\n", flipped},
		{"permuted, zyx", "network: {axes: zyx}\norientation: PIR\nspacing: [1.1, 1.2, 1.3]\n", flipped},
		{"stored", "", flipped},
		{"stored, zyx", "network: {axes: zyx}\n", flipped},
		{"turned", "spacing: [1.5, 1, 0.7]\n", rotation(0.3, [3]float64{1, 1.2, 0.8})},
		{"turned, to RAS", "orientation: RAS\n", rotation(0.3, [3]float64{1, 1.2, 0.8})},
		{"cropped", crop + "spacing: [0.9, 1.3, 0.6]\n", imaging.Identity()},
		{"cropped, other side", crop + "orientation: LAI\nspacing: [0.9, 1.3, 0.6]\n", imaging.Identity()},
		{"cropped, zyx", crop + "network: {axes: zyx}\nspacing: [0.9, 1.3, 0.6]\n", flipped},
		{"labels", "spacing: [0.7, 1.3, 1.1]\n", flipped},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := volumeOf(1, [3]int{23, 19, 17}, func(_, x, y, z int) float32 {
				d := math.Hypot(math.Hypot(float64(x)-12, float64(y)-8), 1.3*(float64(z)-9))
				return float32(1/(1+math.Exp(d-5)) + 0.1*math.Sin(float64(x*y+z)))
			})
			v.Affine = c.affine
			restore := restoreScores
			if c.name == "labels" {
				restore = restoreLabels
			}
			r := registry(t, "cpu")
			run := func(name, window string) *imaging.LabelMap {
				manifest := fmt.Sprintf("inputs: [{source: image}]\n%swindow: %s\noutputs: [{activation: softmax, restore: %s}]\nlabels: [{name: dark, value: 7, channel: 1}]\n", c.grid, window, restore)
				if err := r.AddFS(name, fstest.MapFS{ManifestFile: {Data: []byte(manifest)}, NetworkFile: {Data: tinyNetwork()}}); err != nil {
					t.Fatal(err)
				}
				out, err := r.Infer(t.Context(), name, Input{Volumes: []*imaging.Volume{v}}, Options{})
				if err != nil {
					t.Fatal(err)
				}
				return out.Labels
			}
			whole := run("whole", "{size: image}")
			n := 0
			for _, l := range whole.Data {
				if l == 7 {
					n++
				}
			}
			if n < len(whole.Data)/4 || n > len(whole.Data)-100 {
				t.Errorf("%d of %d voxels are dark: the case shows nothing", n, len(whole.Data))
			}
			small := run("small", "{size: [8, 7, 6], overlap: 0.3, batch: 3}")
			if d := differing(t, small, whole); d > 2 { // rounding at a tie
				t.Errorf("%d voxels differ", d)
			}
		})
	}
}
