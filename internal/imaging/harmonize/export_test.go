package harmonize

import "testing"

// EqualizeBy is Equalize with the histogram of given voxels.
var EqualizeBy = equalizeBy

// Landmarks returns an image's landmarks above its mean.
func Landmarks(t *testing.T, s Sample, percent []float64) []float64 {
	t.Helper()
	l, err := landmarks(t.Context(), s, percent, AboveMean)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
