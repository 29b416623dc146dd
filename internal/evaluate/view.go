package evaluate

import (
	"context"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"

	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/imaging/transform"
)

// The look of a picture: three planes side by side, each at most panel pixels
// long, with a gap between.
const (
	panel = 384
	gap   = 8
)

// drawCase writes the picture of a pair: axial, coronal and sagittal plane,
// each through the slice with the most wrong voxels. image may be empty; where
// it cannot be used, the picture is drawn without it and bare says why.
func drawCase(ctx context.Context, path string, p Pair, image string) (bare, err error) {
	m, err := p.read(ctx)
	if err != nil {
		return nil, err
	}
	v := &view{pred: m.pred.Data, truth: m.truth.Data}
	if image != "" {
		if bare = v.background(ctx, image, m); ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	grid, axes, err := m.truth.Orient("LPS") // x to the right, y down: as radiologists look at it
	if err != nil {
		return bare, err
	}
	v.orient(grid, axes, m.truth.Size)
	return bare, atomicfile.Write(path, 0o644, func(w io.Writer) error { return png.Encode(w, v.draw()) })
}

// view shows maps of one grid along the axes left, posterior, superior.
type view struct {
	pred, truth []uint16
	grey        []float32 // 0..1; nil without an image
	size        [3]int
	spacing     [3]float64
	start       int
	stride      [3]int
}

// background reads the image and puts the maps onto its grid. An image that
// cannot be read or lies on another lattice is an error; v and m are then as
// they were.
func (v *view) background(ctx context.Context, path string, m *labelMaps) error {
	img, err := codec.Read(ctx, path, codec.Limits{})
	if err != nil {
		return err
	}
	pred, ok1 := codec.Align(m.pred, img.Grid)
	truth, ok2 := codec.Align(m.truth, img.Grid)
	if !ok1 || !ok2 {
		return fault.Wrap(fault.Invalid, imaging.ErrShape, "the image lies on another grid: %s", gridText(img.Grid))
	}
	grey := make([]float32, img.Voxels())
	img.Float32s(grey, 0, 0)
	q, err := transform.Channels{grey}.Percentiles(ctx, []float64{1, 99})
	if err != nil {
		return err
	}
	m.pred, m.truth = pred, truth
	v.pred, v.truth, v.grey = pred.Data, truth.Data, grey
	scale := 1.0
	if q[1] > q[0] {
		scale = 1 / (q[1] - q[0])
	}
	for i, f := range v.grey {
		g := (float64(f) - q[0]) * scale
		v.grey[i] = 0
		if g > 0 { // not NaN
			v.grey[i] = float32(min(g, 1))
		}
	}
	return nil
}

func (v *view) orient(grid imaging.Grid, axes imaging.AxisMap, size [3]int) {
	step := [3]int{1, size[0], size[0] * size[1]}
	v.size, v.spacing, v.start = grid.Size, grid.Spacing(), 0
	for i, s := range axes.Source {
		v.stride[i] = step[s]
		if axes.Flip[i] {
			v.start += (size[s] - 1) * step[s]
			v.stride[i] = -step[s]
		}
	}
}

func (v *view) index(p [3]int) int {
	return v.start + p[0]*v.stride[0] + p[1]*v.stride[1] + p[2]*v.stride[2]
}

// worst returns, for every axis, the slice with the most wrong voxels.
func (v *view) worst() [3]int {
	var wrong [3][]int
	for a := range wrong {
		wrong[a] = make([]int, v.size[a])
	}
	for z := range v.size[2] {
		for y := range v.size[1] {
			for x := range v.size[0] {
				if i := v.index([3]int{x, y, z}); v.pred[i] != v.truth[i] {
					wrong[0][x]++
					wrong[1][y]++
					wrong[2][z]++
				}
			}
		}
	}
	var at [3]int
	for a, n := range wrong {
		for i, k := range n {
			if k > n[at[a]] {
				at[a] = i
			}
		}
	}
	return at
}

// plane is a slice across one axis: its columns and rows run along two others.
type plane struct {
	across, column, row int
	up                  bool // the row axis points upwards
}

// The planes: axial, coronal, sagittal.
var planes = [3]plane{{2, 0, 1, false}, {1, 0, 2, true}, {0, 1, 2, true}}

// draw returns the picture.
func (v *view) draw() image.Image {
	var longest float64
	for a := range 3 {
		longest = max(longest, float64(v.size[a])*v.spacing[a])
	}
	scale := panel / longest // pixels per mm
	pixels := func(axis int) int { return max(1, int(math.Round(float64(v.size[axis])*v.spacing[axis]*scale))) }
	width, height := -gap, 0
	for _, p := range planes {
		width += pixels(p.column) + gap
		height = max(height, pixels(p.row))
	}
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for i := 3; i < len(img.Pix); i += 4 {
		img.Pix[i] = 255
	}
	at, left := v.worst(), 0
	for _, p := range planes {
		w, h := pixels(p.column), pixels(p.row)
		for py := range h {
			for px := range w {
				pos := at
				pos[p.column] = px * v.size[p.column] / w
				pos[p.row] = py * v.size[p.row] / h
				if p.up {
					pos[p.row] = v.size[p.row] - 1 - pos[p.row]
				}
				img.SetRGBA(left+px, py, v.colour(v.index(pos)))
			}
		}
		left += w + gap
	}
	return img
}

// What a voxel shows: both say the same class, only the prediction has one,
// only the truth, or they have different ones.
var (
	agree    = [3]float32{0, 200, 80}
	invented = [3]float32{255, 40, 40}
	missed   = [3]float32{60, 110, 255}
	swapped  = [3]float32{255, 210, 0}
)

// colour mixes the grey value with what prediction and truth say.
func (v *view) colour(i int) color.RGBA {
	var g float32
	if v.grey != nil {
		g = v.grey[i] * 255
	}
	c, alpha := [3]float32{}, float32(0.7)
	switch p, t := v.pred[i], v.truth[i]; {
	case p == 0 && t == 0:
		alpha = 0
	case p == t:
		c, alpha = agree, 0.35
	case t == 0:
		c = invented
	case p == 0:
		c = missed
	default:
		c = swapped
	}
	mix := func(k int) uint8 { return uint8(g*(1-alpha) + c[k]*alpha) }
	return color.RGBA{mix(0), mix(1), mix(2), 255}
}
