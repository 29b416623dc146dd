package augment

import (
	"context"
	"math"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/transform"
)

// Corruption is what Corrupt did.
type Corruption struct {
	Kind     string  `json:"kind"`
	Severity int     `json:"severity"`
	Value    float64 `json:"value"`   // of the table of severities
	Change   float64 `json:"change"`  // root mean square of what was stored less what was there, in units of intensity
	Clipped  int     `json:"clipped"` // voxels cut off at the ends of the stored type
}

// Corrupt returns a copy of v with one corruption of a severity (see Graded).
//
// Grid, stored type, slope and intercept stay: integers are rounded and cut
// off at the ends of their type, as a scanner's would be. Each channel is
// corrupted by itself. The result is a function of kind, severity, seed, id
// (of the image) and voxels; with the severity only the strength changes, not
// the pattern. Voxels that are not finite are Invalid.
func Corrupt(ctx context.Context, v *imaging.Volume, kind string, severity int, seed uint64, id string) (*imaging.Volume, Corruption, error) {
	done := Corruption{Kind: kind, Severity: severity}
	step, value, err := Graded(kind, severity)
	if err != nil {
		return nil, done, err
	}
	done.Value = value
	if err := v.Validate(); err != nil {
		return nil, done, fault.Wrap(fault.Invalid, err, "the image cannot be used")
	}
	a, err := New(Recipe{Transforms: []Step{step}}, Options{})
	if err != nil {
		return nil, done, err
	}
	out := *v
	out.Data = imaging.NewVoxels(v.Data.Type(), v.Data.Len())
	// x is a volume's fastest axis: seen as a patch, its axes run backwards. Its
	// unit of length is the finest axis' voxel.
	sp := v.Spacing()
	finest := min(sp[0], sp[1], sp[2])
	p := NewPatch(1, [3]int{v.Size[2], v.Size[1], v.Size[0]}, false)
	p.Spacing = [3]float64{sp[2] / finest, sp[1] / finest, sp[0] / finest}
	var square float64
	for c := range v.Channels {
		v.Float32s(p.Data, c, 0)
		if err := a.corrupt(ctx, Key{Seed: seed, Case: kind + "/" + id, Step: uint64(c)}, p, c); err != nil {
			return nil, done, err
		}
		done.Clipped += store(&out, c, p.Data)
		square += difference(v, &out, c)
	}
	done.Change = math.Sqrt(square / float64(v.Data.Len()))
	return &out, done, nil
}

// corrupt applies the recipe to a one-channel patch in units of its spread.
func (a *Augmenter) corrupt(ctx context.Context, key Key, p *Patch, channel int) error {
	bad := 0
	for _, x := range p.Data {
		if d := x - x; d != 0 { // NaN for NaN and infinities
			bad++
		}
	}
	if bad > 0 {
		return fault.New(fault.Invalid, "channel %d has voxels that are not finite: %d", channel, bad)
	}
	q, err := transform.Channels{p.Data}.Percentiles(ctx, []float64{1, 99})
	if err != nil {
		return fault.Wrap(fault.Canceled, err, "the corruption was stopped")
	}
	lo, spread := q[0], q[1]-q[0]
	if !(spread > 0) { // nearly constant: its own unit
		spread = 1
	}
	scale := func(factor, shift float64) {
		for i, x := range p.Data {
			p.Data[i] = float32(min(max(float64(x)*factor+shift, -math.MaxFloat32), math.MaxFloat32))
		}
	}
	scale(1/spread, -lo/spread)
	if err := a.Apply(ctx, key, p); err != nil {
		return err
	}
	scale(spread, lo)
	return nil
}

// store writes scaled values into channel c and returns how many did not fit.
func store(v *imaging.Volume, c int, values []float32) int {
	from := c * len(values)
	switch d := v.Data.(type) {
	case imaging.Samples[uint8]:
		return storeInts(d[from:], v, values, 0, math.MaxUint8)
	case imaging.Samples[int8]:
		return storeInts(d[from:], v, values, math.MinInt8, math.MaxInt8)
	case imaging.Samples[uint16]:
		return storeInts(d[from:], v, values, 0, math.MaxUint16)
	case imaging.Samples[int16]:
		return storeInts(d[from:], v, values, math.MinInt16, math.MaxInt16)
	case imaging.Samples[uint32]:
		return storeInts(d[from:], v, values, 0, math.MaxUint32)
	case imaging.Samples[int32]:
		return storeInts(d[from:], v, values, math.MinInt32, math.MaxInt32)
	case imaging.Samples[uint64]:
		return storeInts(d[from:], v, values, 0, 0x1p64-0x1p11) // the largest float64 below 2⁶⁴
	case imaging.Samples[int64]:
		return storeInts(d[from:], v, values, -0x1p63, 0x1p63-0x1p10)
	case imaging.Samples[float32]:
		storeFloats(d[from:], v, values)
	case imaging.Samples[float64]:
		storeFloats(d[from:], v, values)
	}
	return 0
}

func storeInts[T imaging.Number](dst []T, v *imaging.Volume, values []float32, lo, hi float64) int {
	clipped := 0
	inv := inverseSlope(v)
	for i, x := range values {
		s := math.RoundToEven((float64(x) - v.Intercept) * inv)
		if s < lo || s > hi {
			clipped++
		}
		dst[i] = T(min(max(s, lo), hi))
	}
	return clipped
}

func storeFloats[T imaging.Number](dst []T, v *imaging.Volume, values []float32) {
	inv := inverseSlope(v)
	for i, x := range values {
		dst[i] = T((float64(x) - v.Intercept) * inv)
	}
}

// inverseSlope returns 1/slope; 0 for a slope of 0, with which every voxel is
// the intercept whatever is stored.
func inverseSlope(v *imaging.Volume) float64 {
	if v.Slope == 0 {
		return 0
	}
	return 1 / v.Slope
}

// difference returns the sum of squared differences of channel c.
func difference(a, b *imaging.Volume, c int) float64 {
	n := a.Voxels()
	var sum float64
	for i := c * n; i < (c+1)*n; i++ {
		d := (a.Data.At(i) - b.Data.At(i)) * a.Slope
		sum += d * d
	}
	return sum
}
