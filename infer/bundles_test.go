package infer

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/voxloop/voxloop/internal/testkit"
)

// bundleManifests say by hand what shared data/bundles/*/expected.json says.
var bundleManifests = map[string]string{
	"ct_lobe": `
name: ct_lobe
version: 0.1.0
type: segmentation
dimension: 3
modality: CT
network: {input: image, axes: xyz}
inputs:
  - name: image
    source: image[CT]
    normalize:
      - linear: {from: [-57, 164], to: [0, 1], clip: true}
orientation: RAS
spacing: [1.5, 1.5, 2.0]
interpolation: linear
window: {size: [96, 96, 96], overlap: 0.4, blend: constant, padding: constant, pad_value: 0, batch: 2}
outputs:
  - {name: pred, activation: softmax, decision: argmax, restore: scores_linear}
labels:
  - {name: background, value: 0, channel: 0}
  - {name: Upper Lobe, value: 1, channel: 1}
  - {name: Lower Lobe, value: 2, channel: 2}
`,
	"mr4_lesion": `
name: mr4_lesion
version: 0.2.0
modality: MR
network: {input: input.1}
inputs:
  - {name: contrast, source: "image[MR]", normalize: [zscore: {voxels: nonzero, scope: channel}]}
  - {name: plain, source: "image[MR]", normalize: [zscore: {voxels: nonzero, scope: channel}]}
  - {name: water, source: "image[MR]", normalize: [zscore: {voxels: nonzero, scope: channel}]}
  - {name: dark, source: "image[MR]", normalize: [zscore: {voxels: nonzero, scope: channel}]}
window: {size: [32, 24, 16], overlap: 0.5, blend: constant, padding: constant, pad_value: 0, batch: 1}
outputs:
  - name: "24"
    activation: sigmoid
    decision: threshold
    threshold: 0.5
    restore: scores_linear
    priority: [{channel: 2, value: 4}, {channel: 0, value: 1}, {channel: 1, value: 2}]
    else_value: 0
labels:
  - {name: Core, value: 1, channel: 0}
  - {name: Whole, value: 2, channel: 1}
  - {name: Rim, value: 4, channel: 2}
`,
	"mr_parts": `
name: mr_parts
version: 1.0.0
modality: MR
network: {input: volume}
inputs:
  - name: image
    source: image[MR]
    normalize:
      - percentile: {percent: [1, 99], to: [-1, 1], clip: true, scope: all}
orientation: LPS
spacing: native
window: {size: [24, 24, 24], overlap: 0.5, blend: gaussian, sigma_scale: 0.125, padding: replicate, batch: 4}
outputs:
  - {name: logits, activation: softmax, decision: argmax, restore: labels_nearest}
labels:
  - {name: background, value: 0}
  - {name: head part, value: 1}
  - {name: body part, value: 2}
  - {name: tail part, value: 3}
postprocess:
  - keep_largest: {labels: [head part, tail part], each_alone: true, connectivity: 26, when: before_restore}
`,
}

// bundleCase is the recorded run of a bundle.
type bundleCase struct {
	Case struct {
		Images    []string  `json:"images"`
		Label     string    `json:"label"`
		Shape     []int     `json:"prepared_shape_cxyz"`
		Windows   [3]int    `json:"windows_per_axis_xyz"`
		Values    []float64 `json:"prepared_mean_min_max"`
		MayDiffer float64   `json:"may_differ_share"`
	} `json:"case"`
}

func readBundle(t *testing.T, name string) (dir string, c bundleCase, in Input) {
	t.Helper()
	dir = testkit.Shared(t, "data", "bundles", name)
	b, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	for _, f := range c.Case.Images {
		in.Volumes = append(in.Volumes, volume(t, filepath.Join(dir, f)))
	}
	return dir, c, in
}

// TestBundlesPrepared compares the tensor that the network gets.
func TestBundlesPrepared(t *testing.T) {
	for name, manifest := range bundleManifests {
		t.Run(name, func(t *testing.T) {
			_, c, in := readBundle(t, name)
			m, err := ParseManifest([]byte(manifest))
			if err != nil {
				t.Fatal(err)
			}
			p, err := m.prepare(t.Context(), in, 1<<30, &buffers{})
			if err != nil {
				t.Fatal(err)
			}
			shape := append([]int{len(m.Inputs)}, p.layout.Size[:]...)
			if !slices.Equal(shape, c.Case.Shape) {
				t.Errorf("prepared shape %v, want %v", shape, c.Case.Shape)
			}
			sum, lo, hi := 0.0, math.Inf(1), math.Inf(-1)
			for _, v := range p.data {
				sum, lo, hi = sum+float64(v), min(lo, float64(v)), max(hi, float64(v))
			}
			for i, got := range []float64{sum / float64(len(p.data)), lo, hi} {
				if math.Abs(got-c.Case.Values[i]) > 1e-4 {
					t.Errorf("%s %g, want %g", []string{"mean", "minimum", "maximum"}[i], got, c.Case.Values[i])
				}
			}
			w := newWindows(p.layout.Size, [3]int(m.Window.Size), perAxis(m, m.Window.Overlap.axis, 0))
			for d, s := range w.starts {
				if len(s) != c.Case.Windows[d] {
					t.Errorf("axis %d: %d windows, want %d", d, len(s), c.Case.Windows[d])
				}
			}
		})
	}
}

// TestBundles runs the bundles and compares with MONAI's label maps.
func TestBundles(t *testing.T) {
	for name, manifest := range bundleManifests {
		for _, device := range []string{"cpu", "openvino"} {
			t.Run(name+"/"+device, func(t *testing.T) {
				dir, c, in := readBundle(t, name)
				r := serve(t, device, manifest, filepath.Join(dir, "models", NetworkFile))
				out, err := r.Infer(t.Context(), "m", in, Options{})
				if err != nil {
					t.Fatal(err)
				}
				if out.Device != device {
					t.Errorf("ran on %s, want %s", out.Device, device)
				}
				want := labelMap(t, filepath.Join(dir, c.Case.Label))
				n := differing(t, out.Labels, want)
				t.Logf("%d of %d voxels differ", n, len(want.Data))
				if share := float64(n) / float64(len(want.Data)); share > c.Case.MayDiffer {
					t.Errorf("%d of %d voxels differ, at most a share of %g may", n, len(want.Data), c.Case.MayDiffer)
				}
				if out.Labels.Grid != in.Volumes[0].Grid {
					t.Errorf("the label map's grid is %v, want the image's %v", out.Labels.Grid, in.Volumes[0].Grid)
				}
			})
		}
	}
}
