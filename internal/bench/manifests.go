package main

// manifests say for our server what the reference's benchmark app says in
// code: same normalisation, windows, overlap, blending and restoring.
var manifests = map[string]string{
	"unet_hippo": `name: unet_hippo
type: segmentation
description: UNet, MR crop
dimension: 3
network: {input: image, axes: xyz}
inputs:
  - source: image[MR]
    required: true
    normalize:
      - zscore: {voxels: all, scope: channel}
orientation: RAS
spacing: native
window: {size: [32, 48, 32], overlap: 0.25, blend: gaussian, sigma_scale: 0.125, padding: constant}
outputs:
  - {name: pred, activation: softmax, decision: argmax}
labels:
  - {name: anterior, value: 1}
  - {name: posterior, value: 2}
`,
	"unet_ct": `name: unet_ct
type: segmentation
description: UNet, CT at 1.5 mm
dimension: 3
network: {input: image, axes: xyz}
inputs:
  - source: image[CT]
    required: true
    normalize:
      - linear: {from: [-57, 164], to: [0, 1], clip: true}
orientation: RAS
spacing: [1.5, 1.5, 1.5]
window: {size: [96, 96, 96], overlap: 0.25, blend: gaussian, sigma_scale: 0.125, padding: constant}
outputs:
  - {name: pred, activation: none, decision: argmax, restore: scores_linear}
labels:
  - {name: organ_a, value: 1}
  - {name: organ_b, value: 2}
`,
}
