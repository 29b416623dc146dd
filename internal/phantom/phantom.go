// Package phantom makes synthetic cases: two touching, curved grey structures
// in layered, textured surroundings, on the grid and with the contrasts of a
// cropped T1 brain MRI, so that a network trained on hippocampus crops finds
// both. No patient's data is in them.
//
// Intensities are designed in units of the image's standard deviation (white
// matter 1.0, grey matter -0.6, fluid -1.9: the levels measured on the crops of
// the Medical Segmentation Decathlon's Task04) and then stored as int16.
package phantom

import (
	"math"
	"math/rand/v2"

	"github.com/voxloop/voxloop/internal/imaging"
)

// The labels of a case's true label map.
const (
	Anterior  = 1
	Posterior = 2
)

const (
	texture = 0.18 // standard deviation of the correlated part of the noise
	grain   = 0.10 // standard deviation of the white part
	offset  = 500  // stored value of intensity 0
	scale   = 220  // stored units per intensity unit
)

// Case returns one synthetic image (int16, 1 mm, RAS) and its true label map.
// The same seed gives the same voxels in every run of the same binary.
func Case(seed int64) (*imaging.Volume, *imaging.LabelMap) {
	r := rand.New(rand.NewPCG(uint64(seed), 0x766f786c6f6f70)) //nolint:gosec // a reproducible generator is the purpose; the seed's bits are kept
	body := newAnatomy(r)
	grid := imaging.Grid{Size: body.size, Affine: imaging.Identity()}
	for i := range 3 {
		grid.Affine[i][3] = -float64(body.size[i] / 2)
	}
	truth := imaging.NewLabelMap(grid)
	field := make([]float64, grid.Voxels())
	i := 0
	for z := range grid.Size[2] {
		for y := range grid.Size[1] {
			for x := range grid.Size[0] {
				p := body.locate(float64(x), float64(y), float64(z))
				field[i] = p.tissue()
				if p.inside() {
					truth.Data[i] = body.part(float64(y))
				}
				i++
			}
		}
	}
	smooth(field, grid.Size, 0.18) // partial volume: a Gaussian of about 0.6 voxels
	img := imaging.NewVolume(grid, 1, imaging.Int16)
	store(img.Data.(imaging.Samples[int16]), field, correlated(r, grid.Size), r)
	return img, truth
}

// store adds both kinds of noise and rounds to stored values.
func store(dst imaging.Samples[int16], field, tex []float64, r *rand.Rand) {
	for i, f := range field {
		v := offset + scale*(f+texture*tex[i]+grain*r.NormFloat64())
		dst[i] = int16(math.Round(min(max(v, 0), math.MaxInt16)))
	}
}

// correlated returns noise of mean 0 and variance 1 with a correlation length
// of about 1.6 voxels.
func correlated(r *rand.Rand, size [3]int) []float64 {
	n := make([]float64, size[0]*size[1]*size[2])
	for i := range n {
		n[i] = r.NormFloat64()
	}
	for range 5 {
		smooth(n, size, 0.25)
	}
	var sum, squares float64
	for _, v := range n {
		sum += v
		squares += v * v
	}
	mean := sum / float64(len(n))
	deviation := math.Sqrt(squares/float64(len(n)) - mean*mean)
	for i := range n {
		n[i] = (n[i] - mean) / deviation
	}
	return n
}

// smooth convolves f, x fastest, with (w, 1-2w, w) along each axis in place;
// beyond the border the border's value goes on.
func smooth(f []float64, size [3]int, w float64) {
	stride := 1
	for axis := range 3 {
		n := size[axis]
		for start := range len(f) {
			if start/stride%n != 0 {
				continue
			}
			before := f[start]
			for k := range n {
				i := start + k*stride
				after := f[i]
				if k+1 < n {
					after = f[i+stride]
				}
				here := f[i]
				f[i] = w*before + (1-2*w)*here + w*after
				before = here
			}
		}
		stride *= n
	}
}
