package infer

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/transform"
	"github.com/voxloop/voxloop/internal/testkit"
)

// Networks of shared golden/networks, served through manifests: their recorded
// input goes in as an image, and the label map must be the argmax of their
// recorded output.

// volumeOf wraps values [C, X, Y, Z] as an image.
func volumeOf(channels int, size [3]int, at func(c, x, y, z int) float32) *imaging.Volume {
	v := imaging.NewVolume(imaging.Grid{Size: size, Affine: imaging.Identity()}, channels, imaging.Float32)
	d := v.Data.(imaging.Samples[float32])
	i := 0
	for c := range channels {
		for z := range size[2] {
			for y := range size[1] {
				for x := range size[0] {
					d[i] = at(c, x, y, z)
					i++
				}
			}
		}
	}
	return v
}

// wantArgmax compares a label map with the largest of recorded scores, leaving
// out voxels whose two best scores are closer than the networks' tolerance.
func wantArgmax(t *testing.T, got *imaging.LabelMap, classes int, score func(c, x, y, z int) float64) {
	t.Helper()
	wrong, ties := 0, 0
	for z := range got.Size[2] {
		for y := range got.Size[1] {
			for x := range got.Size[0] {
				best, second, top := math.Inf(-1), math.Inf(-1), 0
				for c := range classes {
					switch s := score(c, x, y, z); {
					case s > best:
						best, second, top = s, best, c
					case s > second:
						second = s
					}
				}
				if best-second < 1e-3 {
					ties++
				} else if int(got.Data[x+got.Size[0]*(y+got.Size[1]*z)]) != top {
					wrong++
				}
			}
		}
	}
	if wrong > 0 || ties > len(got.Data)/100 {
		t.Errorf("%d voxels have another label than recorded (%d ties left out)", wrong, ties)
	}
}

func labelsYAML(n int) string {
	var b strings.Builder
	for i := 1; i < n; i++ {
		fmt.Fprintf(&b, "  - {name: class %d, value: %d}\n", i, i)
	}
	return b.String()
}

func TestManyChannels(t *testing.T) {
	dir := testkit.Shared(t, "golden", "networks", "deepedit_dynunet")
	x, y := testkit.ReadNPY(t, filepath.Join(dir, "forward0_x.npy")), testkit.ReadNPY(t, filepath.Join(dir, "forward0_y.npy"))
	size := [3]int(x.Shape[2:])
	xs, ys := x.F32(t), y.F64(t)
	index := func(c, a, b, d int) int { return ((c*size[0]+a)*size[1]+b)*size[2] + d }
	manifest := fmt.Sprintf(`
inputs:
  - {name: T1, source: "image[MR]"}
  - {name: T2, source: "image[MR]"}
  - {name: FLAIR, source: "image[MR]", required: false}
window: {size: [%d, %d, %d], overlap: 0.5}
outputs:
  - {activation: softmax}
labels:
`, size[0], size[1], size[2]) + labelsYAML(y.Shape[1])
	r := serve(t, "cpu", manifest, filepath.Join(dir, NetworkFile))
	whole := volumeOf(3, size, func(c, a, b, d int) float32 { return xs[index(c, a, b, d)] })
	single := func(c int) *imaging.Volume {
		return volumeOf(1, size, func(_, a, b, d int) float32 { return xs[index(c, a, b, d)] })
	}
	for name, in := range map[string]Input{
		"one volume":    {Volumes: []*imaging.Volume{whole}},
		"three volumes": {Volumes: []*imaging.Volume{single(0), single(1), single(2)}},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := r.Infer(t.Context(), "m", in, Options{})
			if err != nil {
				t.Fatal(err)
			}
			wantArgmax(t, out.Labels, y.Shape[1], func(c, a, b, d int) float64 { return ys[index(c, a, b, d)] })
		})
	}
	if info, _ := r.Model("m"); info.Channels != 2 {
		t.Errorf("%d channels must be supplied, want 2", info.Channels)
	}
}

// TestSlices runs a 2-D network slice by slice: the recorded batch is a stack
// of slices, windowed whole or in one window of its size.
func TestSlices(t *testing.T) {
	dir := testkit.Shared(t, "golden", "networks", "unet2d_bn")
	x, y := testkit.ReadNPY(t, filepath.Join(dir, "forward1_x.npy")), testkit.ReadNPY(t, filepath.Join(dir, "forward1_y.npy"))
	n, channels, h, w := x.Shape[0], x.Shape[1], x.Shape[2], x.Shape[3]
	xs, ys := x.F32(t), y.F64(t)
	for _, window := range []string{
		fmt.Sprintf("{size: [%d, %d], batch: 2}", h, w),
		"{size: image, batch: 2}",
		"{size: image, multiple: 8}",
	} {
		for _, axes := range []string{"xyz", "zyx"} {
			if axes == "zyx" && strings.Contains(window, "[") {
				window = fmt.Sprintf("{size: [%d, %d]}", w, h)
			}
			t.Run(window+axes, func(t *testing.T) {
				manifest := "dimension: 2\nnetwork: {axes: " + axes + "}\ninputs:\n" + strings.Repeat("  - {source: image}\n", channels) +
					"window: " + window + "\noutputs: [{activation: softmax}]\nlabels:\n" + labelsYAML(y.Shape[1])
				r := serve(t, "cpu", manifest, filepath.Join(dir, NetworkFile))
				size := [3]int{h, w, n}
				at := func(p, q int) (int, int) { return p, q }
				if axes == "zyx" { // the network's first axis is y
					size = [3]int{w, h, n}
					at = func(p, q int) (int, int) { return q, p }
				}
				v := volumeOf(channels, size, func(c, p, q, z int) float32 {
					i, j := at(p, q)
					return xs[((z*channels+c)*h+i)*w+j]
				})
				out, err := r.Infer(t.Context(), "m", Input{Volumes: []*imaging.Volume{v}}, Options{})
				if err != nil {
					t.Fatal(err)
				}
				if out.Windows != n {
					t.Errorf("%d windows, want one per slice of %d", out.Windows, n)
				}
				wantArgmax(t, out.Labels, y.Shape[1], func(c, p, q, z int) float64 {
					i, j := at(p, q)
					return ys[((z*y.Shape[1]+c)*h+i)*w+j]
				})
			})
		}
	}
}

// TestAxes serves one network in both orders of axes: with zyx an image whose
// axes are swapped gives the swapped label map.
func TestAxes(t *testing.T) {
	dir := testkit.Shared(t, "golden", "networks", "unet_res2_prelu")
	x, y := testkit.ReadNPY(t, filepath.Join(dir, "forward0_x.npy")), testkit.ReadNPY(t, filepath.Join(dir, "forward0_y.npy"))
	size := [3]int(x.Shape[2:])
	xs, ys := x.F32(t), y.F64(t)
	index := func(c, a, b, d int) int { return ((c*size[0]+a)*size[1]+b)*size[2] + d }
	manifest := `
network: {axes: zyx}
inputs: [{source: image}]
window: {size: [%d, %d, %d]}
outputs: [{activation: softmax}]
labels:
` + labelsYAML(y.Shape[1])
	r := serve(t, "cpu", fmt.Sprintf(manifest, size[2], size[1], size[0]), filepath.Join(dir, NetworkFile))
	v := volumeOf(1, [3]int{size[2], size[1], size[0]}, func(_, a, b, d int) float32 { return xs[index(0, d, b, a)] })
	out, err := r.Infer(t.Context(), "m", Input{Volumes: []*imaging.Volume{v}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantArgmax(t, out.Labels, y.Shape[1], func(c, a, b, d int) float64 { return ys[index(c, d, b, a)] })
}

// TestInteractive checks the channels that are no images: clicks, an earlier
// label, a constant.
func TestInteractive(t *testing.T) {
	m, err := ParseManifest([]byte(`
type: deepedit
inputs:
  - {source: "image[MR]", normalize: [linear: {from: [0, 10], to: [0, 1]}]}
  - {source: "guidance[spleen]", sigma: 0}
  - {source: "guidance[background]", sigma: 2}
  - {source: "previous_label[spleen]"}
  - {source: previous_label, normalize: [linear: {from: [0, 3], to: [0, 1]}]}
  - {source: constant, value: 0.25}
orientation: LPS
spacing: [2, 2, 2]
outputs: [{activation: softmax}]
labels: [{name: spleen, value: 3}, {name: liver, value: 1}]
`))
	if err != nil {
		t.Fatal(err)
	}
	size := [3]int{9, 7, 5}
	in := Input{
		Volumes:  []*imaging.Volume{volumeOf(1, size, func(_, x, _, _ int) float32 { return float32(x) })},
		Guidance: map[string][][3]int{"spleen": {{2, 4, 0}, {-1, 0, 0}, {99, 6, 4}}},
		Previous: imaging.NewLabelMap(imaging.Grid{Size: size, Affine: imaging.Identity()}),
	}
	in.Previous.Data[2+9*(4+7*2)] = 3
	in.Previous.Data[4+9*(4+7*2)] = 1
	p, err := m.prepare(t.Context(), in, 1<<20, &buffers{})
	if err != nil {
		t.Fatal(err)
	}
	if p.layout.Size != [3]int{5, 4, 3} {
		t.Fatalf("prepared size %v", p.layout.Size)
	}
	at := func(c, x, y, z int) float32 { return p.channel(c)[(x*4+y)*3+z] }
	// LPS at 2 mm: prepared x = (8-x)/2, y = (6-y)/2, z = z/2.
	for _, c := range []struct {
		what       string
		c, x, y, z int
		want       float32
	}{
		{"image at x = 2", 0, 3, 1, 1, 0.2},
		{"click", 1, 3, 1, 0, 1},
		{"no click", 1, 3, 1, 1, 0},
		{"click beyond the end, moved to (8, 6, 4)", 1, 0, 0, 2, 1},
		{"no background clicks", 2, 2, 2, 2, 0},
		{"spleen", 3, 3, 1, 1, 1},
		{"liver is no spleen", 3, 2, 1, 1, 0},
		{"label 3", 4, 3, 1, 1, 1},
		{"label 1", 4, 2, 1, 1, 1. / 3},
		{"constant", 5, 4, 3, 2, 0.25},
	} {
		if got := at(c.c, c.x, c.y, c.z); math.Abs(float64(got-c.want)) > 1e-6 {
			t.Errorf("%s: %g, want %g", c.what, got, c.want)
		}
	}
	sum := float32(0)
	for _, v := range p.channel(1) {
		sum += v
	}
	if sum != 2 {
		t.Errorf("%g clicks drawn, want 2: the one with a negative index is dropped", sum)
	}
	in.Previous.Affine[0][3] = 5
	if _, err := m.prepare(t.Context(), in, 1<<20, &buffers{}); err == nil {
		t.Error("an earlier label on another grid is accepted")
	}
}

// TestCrop runs a crop before and after normalisation.
func TestCrop(t *testing.T) {
	manifest := `
inputs: [{source: image, normalize: [minmax: {to: [%s]}]}]
crop: {above: %s, margin: [1, 0, 9], when: %s}
outputs: [{activation: softmax}]
labels: [{name: a, value: 1}]
`
	size := [3]int{8, 6, 5}
	v := volumeOf(1, size, func(_, x, y, z int) float32 {
		if x >= 3 && x < 5 && y == 2 && z == 2 {
			return float32(10 * x)
		}
		return -20
	})
	for _, c := range []struct{ to, above, when string }{{"-1, 1", "0", afterNormalize}, {"0, 1", "0", beforeNormalize}} {
		m, err := ParseManifest(fmt.Appendf(nil, manifest, c.to, c.above, c.when))
		if err != nil {
			t.Fatal(err)
		}
		p, err := m.prepare(t.Context(), Input{Volumes: []*imaging.Volume{v}}, 1<<20, &buffers{})
		if err != nil {
			t.Fatal(err)
		}
		if want := [3]int{4, 1, 5}; p.layout.Size != want {
			t.Errorf("%s: box %v, want %v", c.when, p.layout.Size, want)
		}
		if want := (transform.Frame{Size: size, Start: [3]int{2, 2, 0}}); p.frame == nil || *p.frame != want {
			t.Errorf("%s: frame %v, want %v", c.when, p.frame, want)
		}
		if got := p.channel(0)[(2*1+0)*5+2]; got != 1 {
			t.Errorf("%s: the brightest voxel is %g, want 1", c.when, got)
		}
	}
}
