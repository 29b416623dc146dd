package main

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"os"

	"github.com/voxloop/voxloop/internal/imaging/augment"
)

// augmentPatch turns, scales, adds noise to and bends the intensities of a
// patch, each time with other numbers; or with --fixed, for comparing results,
// by fixed ones and without noise.
func augmentPatch(flags *flag.FlagSet) func(context.Context) (func() error, error) {
	in := flags.String("in", "", "the patch, float32 [X, Y, Z]")
	edge := flags.Int("edge", 96, "voxels along each axis")
	fixed := flags.String("fixed", "", "turn by 20 degrees about z, scale by 1.25, gamma 1.3; write the result here")
	return func(ctx context.Context) (func() error, error) {
		size := [3]int{*edge, *edge, *edge}
		src, dst := augment.NewPatch(1, size, false), augment.NewPatch(1, size, false)
		if err := readFloats(*in, src.Data); err != nil {
			return nil, err
		}
		a, err := augment.New(augmentRecipe(*fixed != ""), augment.Options{})
		if err != nil {
			return nil, err
		}
		key := augment.Key{Seed: 1}
		work := func() error {
			key.Step++
			return a.Sample(ctx, key, src, [3]int{}, dst)
		}
		if err := work(); err != nil { // the first call allocates
			return nil, err
		}
		if *fixed == "" {
			return work, nil
		}
		return work, writeFloats(*fixed, dst.Data)
	}
}

func augmentRecipe(fixed bool) augment.Recipe {
	always := augment.Chance{Probability: 1}
	turn := augment.Range{-30, 30}
	if fixed {
		return augment.Recipe{Transforms: []augment.Step{
			{Spatial: &augment.Spatial{
				Rotate: &augment.Rotate{Probability: 1, Z: augment.Range{20, 20}},
				Scale:  &augment.Scale{Probability: 1, Factor: augment.Range{1.25, 1.25}},
			}},
			{Gamma: &augment.Gamma{Chance: always, Gamma: augment.Range{1.3, 1.3}, RetainStats: true}},
		}}
	}
	return augment.Recipe{Transforms: []augment.Step{
		{Spatial: &augment.Spatial{
			Rotate: &augment.Rotate{Probability: 1, X: turn, Y: turn, Z: turn},
			Scale:  &augment.Scale{Probability: 1, Factor: augment.Range{0.7, 1.3}, PerAxis: true},
		}},
		{Noise: &augment.Noise{Chance: always, SD: augment.Range{0, 0.1}}},
		{Gamma: &augment.Gamma{Chance: always, Gamma: augment.Range{0.7, 1.5}, RetainStats: true}},
	}}
}

// readFloats reads exactly len(dst) little-endian float32.
func readFloats(name string, dst []float32) error {
	f, err := os.Open(name) //nolint:gosec // the caller names the file
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := binary.Read(f, binary.LittleEndian, dst); err != nil {
		return fmt.Errorf("read %d voxels: %w", len(dst), err)
	}
	return nil
}
