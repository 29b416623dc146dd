package main

import (
	"context"
	"encoding/binary"
	"flag"
	"os"

	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/imaging/transform"
)

// preprocess reads a volume and prepares it for a network: RAS, 1.5×1.5×2 mm,
// -160..240 to 0..1 cut off at both ends.
func preprocess(flags *flag.FlagSet) func(context.Context) (func() error, error) {
	in := flags.String("in", "", "the volume")
	out := flags.String("out", "", "write the tensor here, float32 [X, Y, Z]")
	return func(ctx context.Context) (func() error, error) {
		var tensor []float32
		work := func() error {
			v, err := codec.Read(ctx, *in, codec.Limits{})
			if err != nil {
				return err
			}
			p, err := transform.NewPass(v.Grid, transform.Recipe{
				Orientation: "RAS",
				Respace:     transform.Respace{Spacing: [3]float64{1.5, 1.5, 2}},
				Normalize:   []transform.Intensity{transform.LinearStep([2]float64{-160, 240}, [2]float64{0, 1}, true)},
			})
			if err != nil {
				return err
			}
			tensor = make([]float32, p.Layout().Voxels())
			return p.Run(ctx, transform.FromVolume(v, 0), tensor)
		}
		if *out == "" {
			return work, nil
		}
		return func() error {
			if err := work(); err != nil {
				return err
			}
			return writeFloats(*out, tensor)
		}, nil
	}
}

// writeFloats writes little-endian float32.
func writeFloats(name string, v []float32) (err error) {
	f, err := os.Create(name) //nolint:gosec // the caller names the file
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	return binary.Write(f, binary.LittleEndian, v)
}
