package infer

import (
	"context"
	"math"
	"sync/atomic"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/transform"
)

// checkFinite refuses images with NaN or infinite voxels, by channel.
func (p *Pipeline) checkFinite(ctx context.Context, in Input) error {
	have, err := p.m.assign(in)
	if err != nil {
		return err
	}
	k := 0
	for c := range p.m.Inputs {
		if p.m.Inputs[c].Source.Kind != SourceImage {
			continue
		}
		if k < len(have) && have[k].v != nil {
			n, err := notFinite(ctx, have[k])
			if err != nil {
				return err
			}
			if n > 0 {
				return fault.New(fault.Invalid, "%d voxels of channel %s are not finite numbers (NaN or infinite)", n, p.m.Inputs[c].title())
			}
		}
		k++
	}
	return nil
}

// notFinite counts the voxels of a channel that are no finite float32.
func notFinite(ctx context.Context, at place) (int, error) {
	v := at.v
	switch v.Data.(type) {
	case imaging.Samples[float32], imaging.Samples[float64]:
	default:
		if math.Abs(v.Slope) < 1e10 && math.Abs(v.Intercept) < 1e30 { // below 2⁶⁴·10¹⁰ everything is finite
			return 0, nil
		}
	}
	const chunk = 1 << 14
	n := v.Voxels()
	var bad atomic.Int64
	err := transform.Parallel(ctx, (n+chunk-1)/chunk, func(ctx context.Context, from, to int) error {
		buf := make([]float32, chunk)
		for i := from; i < to; i++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			part := buf[:min(chunk, n-i*chunk)]
			v.Float32s(part, at.channel, i*chunk)
			bad.Add(int64(countNotFinite(part)))
		}
		return nil
	})
	return int(bad.Load()), err
}

// exponent are the bits that are all set in NaN and the infinities.
const exponent = 0x7f800000

func countNotFinite(v []float32) int {
	n := 0
	for _, x := range v {
		if math.Float32bits(x)&exponent == exponent {
			n++
		}
	}
	return n
}

// checkPrepared refuses what the normalisation made of finite voxels.
func (p *Pipeline) checkPrepared(ctx context.Context, ready *prepared) error {
	for c := range p.m.Inputs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if n := countNotFinite(ready.channel(c)); n > 0 {
			return fault.New(fault.Invalid, "the manifest's normalisation makes %d voxels of channel %s numbers that are not finite", n, p.m.Inputs[c].title())
		}
	}
	return nil
}
