package triage

import (
	"context"
	"image"
	"image/color"
	"math"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/transform"
)

// longest is the longer side of a picture in pixels.
const longest = 224

// Picture is the axial slice of an image in which the model is least sure in
// total, with the uncertainty over it.
type Picture struct {
	Image image.Image
	Axis  int // of the image's file that the slice lies across
	Slice int // along it, from 0
}

// Draw makes the picture of a volume with a voxel map of entropy (nats) on its
// grid: grey from the 1st to the 99th percentile of the first channel, the map
// from red to yellow. Right is the patient's left, down is posterior, as
// radiologists look at it.
func Draw(ctx context.Context, v, entropy *imaging.Volume) (*Picture, error) {
	if v.Size != entropy.Size {
		return nil, fault.New(fault.Internal, "a map of %v voxels for an image of %v", entropy.Size, v.Size)
	}
	grey, heat := make([]float32, v.Voxels()), make([]float32, v.Voxels())
	v.Float32s(grey, 0, 0)
	entropy.Float32s(heat, 0, 0)
	q, err := transform.Channels{grey}.Percentiles(ctx, []float64{1, 99})
	if err != nil {
		return nil, err
	}
	grid, axes, err := v.Orient("LPS")
	if err != nil {
		return nil, err
	}
	w := &window{grid: grid, low: q[0], high: q[1], grey: grey, heat: heat}
	w.orient(axes, v.Size)
	at := w.leastSure()
	p := &Picture{Image: w.draw(at), Axis: axes.Source[2], Slice: at}
	if axes.Flip[2] {
		p.Slice = grid.Size[2] - 1 - at
	}
	return p, nil
}

// window looks at voxels along the axes left, posterior, superior.
type window struct {
	grid       imaging.Grid
	low, high  float64
	grey, heat []float32
	start      int
	stride     [3]int
}

func (w *window) orient(axes imaging.AxisMap, size [3]int) {
	step := [3]int{1, size[0], size[0] * size[1]}
	for i, s := range axes.Source {
		w.stride[i] = step[s]
		if axes.Flip[i] {
			w.start += (size[s] - 1) * step[s]
			w.stride[i] = -step[s]
		}
	}
}

func (w *window) index(x, y, z int) int {
	return w.start + x*w.stride[0] + y*w.stride[1] + z*w.stride[2]
}

// leastSure is the slice with the largest sum of the map; the middle one where
// the map is 0.
func (w *window) leastSure() int {
	best, at := 0.0, w.grid.Size[2]/2
	for z := range w.grid.Size[2] {
		sum := 0.0
		for y := range w.grid.Size[1] {
			for x := range w.grid.Size[0] {
				sum += float64(w.heat[w.index(x, y, z)])
			}
		}
		if sum > best {
			best, at = sum, z
		}
	}
	return at
}

func (w *window) draw(z int) image.Image {
	mm := w.grid.Spacing()
	width, height := float64(w.grid.Size[0])*mm[0], float64(w.grid.Size[1])*mm[1]
	scale := longest / max(width, height)
	nx, ny := max(1, int(math.Round(width*scale))), max(1, int(math.Round(height*scale)))
	img := image.NewRGBA(image.Rect(0, 0, nx, ny))
	for py := range ny {
		for px := range nx {
			img.SetRGBA(px, py, w.colour(w.index(px*w.grid.Size[0]/nx, py*w.grid.Size[1]/ny, z)))
		}
	}
	return img
}

// colour mixes the grey value with the map: none of it is no colour, ln 2 nats
// (two classes, equally likely) and more is yellow.
func (w *window) colour(i int) color.RGBA {
	g := 0.0
	if w.high > w.low {
		g = (float64(w.grey[i]) - w.low) / (w.high - w.low)
	}
	if !(g > 0) { // NaN, too
		g = 0
	}
	g = 255 * min(g, 1)
	h := min(max(float64(w.heat[i])/math.Ln2, 0), 1)
	alpha := 0.75 * math.Sqrt(h)
	if h < 0.05 {
		alpha = 0
	}
	mix := func(c float64) uint8 { return uint8(g*(1-alpha) + c*alpha) }
	return color.RGBA{mix(255), mix(220 * h), mix(0), 255}
}
