package infer

import (
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/testkit"
)

// hippocampusManifest says what shared models/hippocampus/card.json says.
const hippocampusManifest = `
name: hippocampus
type: segmentation
description: anterior and posterior hippocampus on T1 MRI crops
dimension: 3
modality: MR
licence: Apache-2.0
provenance: {data: Medical Segmentation Decathlon Task04 (CC-BY-SA 4.0)}
network: {input: image, axes: xyz}
inputs:
  - {name: image, source: "image[MR]", normalize: [zscore: {voxels: all}]}
orientation: RAS
spacing: native
window: {size: [40, 56, 40], overlap: 0.25, blend: gaussian, sigma_scale: 0.125, padding: constant, pad_value: 0, batch: 1}
outputs:
  - {name: logits, activation: softmax, decision: argmax, restore: scores_linear}
labels:
  - {name: background, value: 0}
  - {name: anterior, value: 1, color: "#ffd27f"}
  - {name: posterior, value: 2, color: "#7fb2ff"}
`

// dice is 2|A∩B|/(|A|+|B|) of one class.
func dice(a, b *imaging.LabelMap, class uint16) float64 {
	var both, sum float64
	for i, v := range a.Data {
		if v == class {
			sum++
		}
		if b.Data[i] == class {
			sum++
			if v == class {
				both++
			}
		}
	}
	return 2 * both / sum
}

// TestHippocampus compares the Dice of every case with the one that the
// model's makers recorded: 8 of them, or all 195 when VOXLOOP_FULL is 1.
func TestHippocampus(t *testing.T) {
	f, err := os.Open(testkit.Shared(t, "models", "hippocampus", "dice_195.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	rows = rows[1:]
	step := len(rows) / 8
	if os.Getenv("VOXLOOP_FULL") == "1" {
		step = 1
	}
	r := serve(t, "", hippocampusManifest, testkit.Shared(t, "models", "hippocampus", NetworkFile))
	data := testkit.Shared(t, "data", "hippocampus")
	var sum, want float64
	n := 0
	for i := 0; i < len(rows); i += step {
		name := rows[i][0] + ".nii.gz"
		out, err := r.Infer(t.Context(), "m", Input{Volumes: []*imaging.Volume{volume(t, filepath.Join(data, "images", name))}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		truth := labelMap(t, filepath.Join(data, "labels", name))
		for c := 1; c <= 2; c++ {
			d := dice(out.Labels, truth, uint16(c))
			w, err := strconv.ParseFloat(rows[i][c], 64)
			if err != nil {
				t.Fatal(err)
			}
			if math.Abs(d-w) > 0.01 {
				t.Errorf("%s class %d: Dice %.4f, recorded %.4f", name, c, d, w)
			}
			sum, want, n = sum+d, want+w, n+1
		}
	}
	t.Logf("%d values, mean Dice %.6f, recorded %.6f", n, sum/float64(n), want/float64(n))
	if math.Abs(sum-want)/float64(n) > 0.002 {
		t.Errorf("mean Dice %.5f, recorded %.5f", sum/float64(n), want/float64(n))
	}
}
