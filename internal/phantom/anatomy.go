package phantom

import (
	"math"
	"math/rand/v2"
)

// The intensities of the tissues, in standard deviations of the image.
const (
	white = 1.0
	grey  = -0.6
	fluid = -1.9
)

// anatomy is the geometry of one case. The two structures are the halves of one
// bent tube that descends from the back (tail, y small, z large) to the front
// (head). Lengths are voxels.
type anatomy struct {
	size         [3]int
	tail, head   float64 // y of the tube's ends
	zTail, zHead float64
	x, bend      float64 // the centre line's x, and how far the ends bend towards the middle of the brain
	border       float64 // y at which the anterior part begins
	cosine       float64 // of the tube's inclination
}

func newAnatomy(r *rand.Rand) anatomy {
	jitter := func(s float64) float64 { return s * min(max(r.NormFloat64(), -2), 2) }
	a := anatomy{size: [3]int{34 + r.IntN(6), 47 + r.IntN(7), 34 + r.IntN(6)}}
	nx, ny, nz := float64(a.size[0]), float64(a.size[1]), float64(a.size[2])
	a.tail, a.head = 6.5+jitter(0.8), ny-7.5+jitter(0.8)
	a.zTail, a.zHead = 0.70*nz+jitter(0.8), 0.27*nz+jitter(0.8)
	a.x, a.bend = 0.40*nx-1.5+jitter(0.7), 6+jitter(0.6)
	a.border = 0.58*ny + jitter(0.3)
	a.cosine = 1 / math.Hypot(1, (a.zHead-a.zTail)/(a.head-a.tail))
	return a
}

// part returns the label of a voxel inside the tube.
func (a anatomy) part(y float64) uint16 {
	if y >= a.border {
		return Anterior
	}
	return Posterior
}

// place is a voxel in the tube's own coordinates.
type place struct {
	x             float64
	along         float64 // 0 at the tail's end, 1 at the head's
	across, up    float64 // distance from the centre line: sideways (towards the middle of the brain), and upwards across the tube
	width, height float64 // half axes of the tube's cross-section here
	taper         float64 // 1 along the body, falling to 0 at both ends
}

func (a anatomy) locate(x, y, z float64) place {
	p := place{x: x, along: (y - a.tail) / (a.head - a.tail)}
	t := min(max(p.along, 0), 1)
	centreZ := a.zTail + (a.zHead-a.zTail)*t - math.Sin(math.Pi*t)
	p.across = x - a.x - a.bend*(2*t-0.85)*(2*t-0.85)
	p.up = (z - centreZ) * a.cosine
	p.width, p.height = 4.2+4.3*math.Pow(t, 1.3), 2.9+1.9*t
	end := min(max((math.Abs(2*p.along-1)-0.72)/0.32, 0), 1)
	p.taper = math.Sqrt(1 - end*end)
	return p
}

// inside tells whether the voxel belongs to one of the two structures.
func (p place) inside() bool {
	return math.Hypot(p.across/p.width, p.up/p.height) < p.taper
}

// tissue returns the intensity before blurring and noise: the grey tube; a slit
// of fluid above it (the ventricle), a cistern beside it, and below it a white
// strip, cortex, a sulcus and folded layers; all else is white.
func (p place) tissue() float64 {
	half := p.height * p.taper
	below := -p.up - half
	beside := p.across - p.width*p.taper
	switch {
	case p.inside():
		return grey
	case p.up > half && p.up < half+1.4 && p.across < p.width/2 && p.along > -0.1 && p.along < 1.1:
		return fluid
	case beside > 1 && beside < 5 && p.up < 2:
		return fluid
	case below <= 2.2:
		return white
	case below < 6:
		return grey
	case below < 7.2:
		return fluid
	}
	fold := (below-2.2)/6.5*2*math.Pi + math.Sin(p.x/2)/4
	return grey + math.Cos(fold)/2
}
