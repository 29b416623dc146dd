package cli

import (
	"context"
	"math"

	"github.com/voxloop/voxloop/internal/imaging"
)

// channelStats are the statistics of one channel's scaled values. Those that
// are not finite are only counted.
type channelStats struct {
	min, max, mean, std float64   // of the finite values (std of the whole, not of a sample); NaN when there is none
	percentiles         []float64 // linear between neighbours, as NumPy's default
	nan, inf            int
	labels              []labelCount // by value; nil when the channel is no label map, see labelCounter
}

// statistics reads channel c a few times, block by block: nothing as large as
// the volume is allocated. segmented says that the values are meant as labels.
func statistics(ctx context.Context, v *imaging.Volume, c int, segmented bool) (channelStats, error) {
	s, n, err := rangeAndLabels(ctx, v, c, segmented)
	if err != nil || n == 0 {
		return s, err
	}
	each := func(fn func(values []float64)) error { return eachBlock(ctx, v, c, fn) }
	var squares float64
	err = each(func(values []float64) {
		for _, f := range values {
			if d := f - s.mean; finite(f) {
				squares += d * d
			}
		}
	})
	if err != nil {
		return s, err
	}
	s.std = math.Sqrt(squares / float64(n))
	s.percentiles, err = percentilesOf(each, n)
	return s, err
}

// rangeAndLabels is the part of statistics that takes one reading: all but the
// standard deviation and the percentiles. n counts the finite values.
func rangeAndLabels(ctx context.Context, v *imaging.Volume, c int, segmented bool) (s channelStats, n int, err error) {
	s = channelStats{min: math.NaN(), max: math.NaN(), mean: math.NaN(), std: math.NaN()}
	var sum float64
	labels := newLabelCounter()
	err = eachBlock(ctx, v, c, func(values []float64) {
		for _, f := range values {
			labels.add(f)
			switch {
			case math.IsNaN(f):
				s.nan++
				continue
			case math.IsInf(f, 0):
				s.inf++
				continue
			case n == 0:
				s.min, s.max = f, f
			}
			s.min, s.max = min(s.min, f), max(s.max, f)
			sum += f
			n++
		}
	})
	s.labels = labels.labels(segmented)
	if n > 0 {
		s.mean = sum / float64(n)
	}
	return s, n, err
}

func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

// blockSize is how many values are converted at a time.
const blockSize = 1 << 14

// eachBlock calls fn with the scaled values of a channel, block by block.
func eachBlock(ctx context.Context, v *imaging.Volume, c int, fn func(values []float64)) error {
	n := v.Voxels()
	block := make([]float64, min(n, blockSize))
	for from := c * n; from < (c+1)*n; from += len(block) {
		if err := ctx.Err(); err != nil {
			return err
		}
		block = block[:min(len(block), (c+1)*n-from)]
		for i := range block {
			block[i] = v.Data.At(from+i)*v.Slope + v.Intercept
		}
		fn(block)
	}
	return nil
}
