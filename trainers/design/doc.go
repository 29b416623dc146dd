// Package design makes networks that fit a set of labelled images, and changes
// networks that exist.
//
//   - Scan draws the fingerprint of a set (shapes, spacings, intensities,
//     classes), NewPlan chooses a U-Net for it by nnU-Net's rules within a budget
//     of memory and time, Plan.Files writes the model folder: network, manifest,
//     fingerprint and plan. docs/model-new.md tells the rules.
//   - Initialise gives any network new random weights.
//   - Surgery gives any network other classes or input channels; Reclass does
//     the same for its manifest.
//
// Axes are x, y, z of the image in RAS orientation; sizes are voxels, spacings
// mm. Nothing here needs a runtime: networks are made, not run. The same inputs
// give the same bytes.
package design
