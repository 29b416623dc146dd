package codec

import (
	"context"
	"math"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
)

// Retype returns a volume whose voxels of type t, without slope and intercept,
// have v's values. Integer types take integers only; with round, the nearest
// one, halves to even. Float types round to their precision. A value that t
// cannot hold (NaN, too large, a fraction) is Invalid and named with its place.
func Retype(ctx context.Context, v *imaging.Volume, t imaging.DataType, round bool) (*imaging.Volume, error) {
	if v.Data.Type() == t && v.Slope == 1 && v.Intercept == 0 {
		return v, nil
	}
	out := imaging.NewVolume(v.Grid, v.Channels, t)
	var err error
	switch d := out.Data.(type) {
	case imaging.Samples[uint8]:
		err = retype(ctx, d, v, round, 0, math.MaxUint8)
	case imaging.Samples[int8]:
		err = retype(ctx, d, v, round, math.MinInt8, math.MaxInt8)
	case imaging.Samples[uint16]:
		err = retype(ctx, d, v, round, 0, math.MaxUint16)
	case imaging.Samples[int16]:
		err = retype(ctx, d, v, round, math.MinInt16, math.MaxInt16)
	case imaging.Samples[uint32]:
		err = retype(ctx, d, v, round, 0, math.MaxUint32)
	case imaging.Samples[int32]:
		err = retype(ctx, d, v, round, math.MinInt32, math.MaxInt32)
	case imaging.Samples[uint64]:
		err = retype(ctx, d, v, round, 0, below(1<<64))
	case imaging.Samples[int64]:
		err = retype(ctx, d, v, round, math.MinInt64, below(1<<63))
	case imaging.Samples[float32]:
		err = retypeFloat(ctx, d, v)
	case imaging.Samples[float64]:
		err = retypeFloat(ctx, d, v)
	default:
		err = fault.New(fault.Invalid, "there are no voxels of type %s", t)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// below is the largest float64 under f.
func below(f float64) float64 { return math.Nextafter(f, 0) }

// exactLimit is where float64, through which values pass, stops to hold every
// integer.
const exactLimit = 1 << 53

// retype fills dst with integers from low to high.
func retype[T imaging.Number](ctx context.Context, dst []T, v *imaging.Volume, round bool, low, high float64) error {
	wide := v.Data.Type() == imaging.Int64 || v.Data.Type() == imaging.Uint64
	return eachValue(ctx, v, func(i int, f float64) string {
		if round {
			f = math.RoundToEven(f)
		}
		switch {
		case f != math.Trunc(f): // NaN too
			return "is no integer"
		case f < low || f > high:
			return "is out of range"
		case wide && math.Abs(f) >= exactLimit:
			return "cannot be converted without loss"
		}
		dst[i] = T(f)
		return ""
	})
}

func retypeFloat[T float32 | float64](ctx context.Context, dst []T, v *imaging.Volume) error {
	return eachValue(ctx, v, func(i int, f float64) string {
		dst[i] = T(f)
		if math.IsInf(float64(dst[i]), 0) && !math.IsInf(f, 0) {
			return "is out of range"
		}
		return ""
	})
}

// eachValue calls fn with every scaled value. What fn finds wrong ends it with
// an error that names the voxel.
func eachValue(ctx context.Context, v *imaging.Volume, fn func(i int, f float64) string) error {
	for i := range v.Data.Len() {
		if i&0xfffff == 0 && ctx.Err() != nil {
			return raw.ReadFailure(ctx.Err(), "the voxels")
		}
		f := v.Data.At(i)*v.Slope + v.Intercept
		if wrong := fn(i, f); wrong != "" {
			n := i % v.Voxels()
			return fault.New(fault.Invalid, "the value %g at voxel (%d, %d, %d) of channel %d %s for the type asked for",
				f, n%v.Size[0], n/v.Size[0]%v.Size[1], n/(v.Size[0]*v.Size[1]), i/v.Voxels(), wrong)
		}
	}
	return nil
}
