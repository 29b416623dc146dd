package transform

import (
	"context"
	"math"

	"github.com/voxloop/voxloop/internal/fault"
)

// KernelKind is how a Gaussian becomes the weights of voxels.
type KernelKind uint8

// The kinds.
const (
	KernelErf        KernelKind = iota // the Gaussian's integral over each voxel
	KernelSampled                      // its value at each centre
	KernelScaleSpace                   // the discrete scale-space kernel exp(-σ²)·I_k(σ²)
)

// Gaussian describes smoothing. Kernels reach int(max(σ·Truncate, ½) + ½)
// voxels to either side and are not normalised; voxels beyond the image count
// as 0, so values fall towards the edges.
//
// Source: MONAI GaussianSmooth and GaussianFilter; scale space after Lindeberg,
// IEEE PAMI 12 (1990) 234.
type Gaussian struct {
	Sigma    [3]float64 // voxels along the array axes; 0 leaves the axis
	Kind     KernelKind
	Truncate float64 // in sigmas; 0 means 4
}

// Kernel returns the weights along array axis d, the middle one at the voxel
// itself.
func (g Gaussian) Kernel(d int) []float32 {
	sigma, cut := g.Sigma[d], g.Truncate
	if cut == 0 {
		cut = 4
	}
	if sigma == 0 {
		return []float32{1}
	}
	tail := int(math.Max(sigma*cut, 0.5) + 0.5)
	k := make([]float32, 2*tail+1)
	t := 1 / (math.Sqrt2 * sigma)
	for i := range k {
		x := float64(i - tail)
		var w float64
		switch g.Kind {
		case KernelErf:
			w = max(0, 0.5*(math.Erf(t*(x+0.5))-math.Erf(t*(x-0.5))))
		case KernelSampled:
			w = math.Exp(-0.5*x*x/(sigma*sigma)) / (math.Sqrt(2*math.Pi) * sigma)
		case KernelScaleSpace:
			w = besselI(int(math.Abs(x)), sigma*sigma)
		}
		k[i] = float32(w)
	}
	return k
}

// besselI is exp(-x)·I_n(x), the modified Bessel function of the first kind, by
// its power series with the factor taken into every term; x is not negative.
func besselI(n int, x float64) float64 {
	var sum float64
	for m := 0; ; m++ {
		a, _ := math.Lgamma(float64(m + 1))
		b, _ := math.Lgamma(float64(m + n + 1))
		term := math.Exp(float64(2*m+n)*math.Log(x/2) - a - b - x)
		sum += term
		if float64(m) > x && term < 1e-18 {
			return sum
		}
	}
}

func (g Gaussian) check() error {
	largest := 1e4
	if g.Kind == KernelScaleSpace {
		largest = 100 // a weight's series has about sigma² terms
	}
	for d, s := range g.Sigma {
		if !(s >= 0 && s <= largest) {
			return fault.New(fault.Invalid, "sigma %g along axis %d is not in 0 to %g voxels", s, d, largest)
		}
	}
	if !(g.Truncate >= 0 && g.Truncate <= 100) {
		return fault.New(fault.Invalid, "a kernel cut off at %g sigmas is not in 0 to 100", g.Truncate)
	}
	return nil
}

// Smooth returns the smoothed image.
func (m *Image) Smooth(ctx context.Context, g Gaussian) (*Image, error) {
	if err := g.check(); err != nil {
		return nil, err
	}
	return m.perChannel(m.Layout, func(dst, src []float32) error {
		copy(dst, src)
		var spare []float32
		for d := range 3 {
			if g.Sigma[d] == 0 {
				continue
			}
			spare = grow(spare, len(dst))
			copy(spare, dst)
			if err := convolveAxis(ctx, dst, spare, m.Size, d, g.Kernel(d)); err != nil {
				return err
			}
		}
		return nil
	})
}

// convolveAxis filters along axis d, zeros beyond the ends.
func convolveAxis(ctx context.Context, dst, src []float32, size [3]int, d int, kernel []float32) error {
	if d == 2 {
		return convolveRows(ctx, dst, src, size, kernel)
	}
	outer, inner := 1, size[2]
	if d == 0 {
		inner *= size[1]
	} else {
		outer = size[0]
	}
	n, tail := size[d], len(kernel)/2
	return Parallel(ctx, outer*n, func(ctx context.Context, from, to int) error {
		for at := from; at < to; at++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			o, i := at/n, at%n
			row := dst[at*inner : (at+1)*inner]
			clear(row)
			for k := max(0, i-tail); k <= min(n-1, i+tail); k++ {
				w := kernel[k-i+tail]
				in := src[(o*n+k)*inner:][:len(row)]
				for e := range row {
					row[e] += w * in[e]
				}
			}
		}
		return nil
	})
}

func convolveRows(ctx context.Context, dst, src []float32, size [3]int, kernel []float32) error {
	n, tail := size[2], len(kernel)/2
	return Parallel(ctx, size[0]*size[1], func(ctx context.Context, from, to int) error {
		for r := from; r < to; r++ {
			if r&63 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			row, in := dst[r*n:(r+1)*n], src[r*n:(r+1)*n]
			for i := range row {
				lo, hi := max(0, i-tail), min(n, i+tail+1)
				part := in[lo:hi]
				w := kernel[lo-i+tail:][:len(part)]
				var s float32
				for k := range part {
					s += part[k] * w[k]
				}
				row[i] = s
			}
		}
		return nil
	})
}

// Sharpen is unsharp masking: with b the image smoothed by First, the result is
// b + Alpha·(b - b smoothed by Second).
//
// Source: MONAI GaussianSharpen.
type Sharpen struct {
	First, Second Gaussian
	Alpha         float64
}

// Sharpen returns the sharpened image.
func (m *Image) Sharpen(ctx context.Context, s Sharpen) (*Image, error) {
	b, err := m.Smooth(ctx, s.First)
	if err != nil {
		return nil, err
	}
	c, err := b.Smooth(ctx, s.Second)
	if err != nil {
		return nil, err
	}
	a := float32(s.Alpha)
	return c, b.Data.zip(ctx, c.Data, func(b, c []float32) {
		for i, x := range b {
			c[i] = x + a*(x-c[i])
		}
	})
}
