package infer

import (
	"os"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/testkit"
)

// niivueManifest reproduces the recorded output voxel by voxel: 2 % and 98 %
// of the values go to 0 and 1, axes in MONAI's order.
const niivueManifest = `
name: brain tissue
modality: MR
licence: BSD-2-Clause
network: {input: input, axes: xyz}
inputs:
  - {name: T1, source: "image[MR]", normalize: [percentile: {percent: [2, 98], to: [0, 1], clip: true}]}
window: {size: [256, 256, 256], overlap: 0}
outputs:
  - {name: output}
labels:
  - {name: white matter, value: 1}
  - {name: grey matter, value: 2}
`

// TestNiivue runs a real network on a whole 256³ head.
func TestNiivue(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute; left out by -short")
	}
	v := volume(t, testkit.Shared(t, "models", "niivue-onnx", "t1_crop.nii.gz"))
	want := labelMap(t, testkit.Shared(t, "models", "niivue-onnx", "t1_crop_model_output.nii.gz"))
	device := os.Getenv("VOXLOOP_DEVICE")
	r := serve(t, device, niivueManifest, testkit.Shared(t, "models", "niivue-onnx", NetworkFile))
	out, err := r.Infer(t.Context(), "m", Input{Volumes: []*imaging.Volume{v}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	counts := map[uint16]int{}
	for _, l := range out.Labels.Data {
		counts[l]++
	}
	n := differing(t, out.Labels, want)
	t.Logf("%s: labels %v, %d voxels differ, %v", out.Device, counts, n, out.Stages)
	if share := float64(n) / float64(len(want.Data)); share > 1e-4 {
		t.Errorf("%d voxels differ, at most 0.01 %% may", n)
	}
	for l, c := range map[uint16]int{0: 15_513_612, 1: 460_783, 2: 802_821} {
		if d := counts[l] - c; d < -1000 || d > 1000 {
			t.Errorf("label %d: %d voxels, recorded %d", l, counts[l], c)
		}
	}
}
