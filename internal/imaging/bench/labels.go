package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/metrics"
	"github.com/voxloop/voxloop/internal/imaging/morph"
)

// hd95 measures HD95 of classes 1 and 2 of a pair of label maps, from the
// labels to millimetres. With --result the two values are written there.
func hd95(flags *flag.FlagSet) func(context.Context) (func() error, error) {
	pred := flags.String("pred", "", "the prediction, uint8, x fastest")
	truth := flags.String("truth", "", "the truth, likewise")
	edge := flags.Int("edge", 256, "voxels along each axis")
	result := flags.String("result", "", "write the values to this file")
	return func(ctx context.Context) (func() error, error) {
		p, err := readMap(*pred, *edge)
		if err != nil {
			return nil, err
		}
		t, err := readMap(*truth, *edge)
		if err != nil {
			return nil, err
		}
		return func() error {
			c, err := metrics.Compare(ctx, p, t)
			if err != nil {
				return err
			}
			var values []float64
			for _, class := range []uint16{1, 2} {
				s, err := c.Surfaces(ctx, class, metrics.SurfaceOptions{})
				if err != nil {
					return err
				}
				v, err := s.Percentile(ctx, 95)
				if err != nil {
					return err
				}
				values = append(values, v)
			}
			return writeResult(*result, values)
		}, nil
	}
}

// components numbers the 26-connected components of a label map, the map of
// numbers included. With --result their voxels are written there.
func components(flags *flag.FlagSet) func(context.Context) (func() error, error) {
	in := flags.String("in", "", "the label map, uint8, x fastest")
	edge := flags.Int("edge", 512, "voxels along each axis")
	result := flags.String("result", "", "write the sizes to this file")
	return func(ctx context.Context) (func() error, error) {
		l, err := readMap(*in, *edge)
		if err != nil {
			return nil, err
		}
		return func() error {
			found, err := morph.Find(ctx, l.Data, l.Size, morph.FindOptions{Connectivity: morph.Corners})
			if err != nil {
				return err
			}
			if _, err := found.Map(ctx); err != nil {
				return err
			}
			var sizes []int
			for _, c := range found.List {
				sizes = append(sizes, c.Voxels)
			}
			return writeResult(*result, sizes)
		}, nil
	}
}

// readMap reads a cube of labels; its voxels are 0.8×0.8×1.5 mm.
func readMap(name string, edge int) (*imaging.LabelMap, error) {
	b, err := os.ReadFile(name) //nolint:gosec // the caller names the file
	if err != nil {
		return nil, err
	}
	if edge < 1 || len(b) != edge*edge*edge {
		return nil, fmt.Errorf("%d bytes are not %d³ voxels", len(b), edge)
	}
	l := imaging.NewLabelMap(imaging.Grid{
		Size:   [3]int{edge, edge, edge},
		Affine: imaging.Affine{{0.8, 0, 0, 0}, {0, 0.8, 0, 0}, {0, 0, 1.5, 0}, {0, 0, 0, 1}},
	})
	for i, v := range b {
		l.Data[i] = uint16(v)
	}
	return l, nil
}

// writeResult writes v as JSON; no name writes nothing.
func writeResult(name string, v any) error {
	if name == "" {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o600) //nolint:gosec // named on the command line
}
