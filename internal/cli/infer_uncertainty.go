package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/uncertainty"
)

// uncertaintyFlags are the flags of `voxloop infer` that ask how sure the model
// is.
type uncertaintyFlags struct {
	sampling    string // "": nothing is asked
	flips       []string
	passes      int
	seed        uint64
	aggregation string
	which, out  string // the voxel map and its file
}

func (f *uncertaintyFlags) register(fl *pflag.FlagSet) {
	fl.StringVar(&f.sampling, "uncertainty", "", fmt.Sprintf("also tell how sure the model is, from one of %v", apps.Samplings()))
	fl.StringSliceVar(&f.flips, "flips", nil, "mirrorings of tta, as x,y,xy; default: all, the plain pass among them")
	fl.IntVar(&f.passes, "passes", 0, "passes of mc; default 10")
	fl.Uint64Var(&f.seed, "seed", 0, "of the masks of mc")
	fl.StringVar(&f.aggregation, "aggregation", "", fmt.Sprintf("how maps become scores: one of %v", uncertainty.Aggregations()))
	fl.StringVar(&f.which, "map", "", fmt.Sprintf("voxel map to be written: one of %v", infer.Maps()))
	fl.StringVar(&f.out, "map-out", "", "where the voxel map goes")
}

// check reports wrong usage before any work is done.
func (f *uncertaintyFlags) check() error {
	switch {
	case f.sampling == "" && (len(f.flips) > 0 || f.passes != 0 || f.seed != 0 || f.aggregation != "" || f.which != "" || f.out != ""):
		return usagef("--flips, --passes, --seed, --aggregation, --map and --map-out belong to --uncertainty")
	case (f.which == "") != (f.out == ""):
		return usagef("--map and --map-out belong together")
	case f.which != "" && !slices.Contains(infer.Maps(), f.which):
		return usagef("--map %q is none of %v", f.which, infer.Maps())
	case f.out != "" && (!codec.Known(codec.Ext(f.out)) || strings.HasSuffix(f.out, ".seg.nrrd")):
		return usagef("--map-out %s: the ending must be .nii, .nii.gz or .nrrd", f.out)
	case len(f.flips) > 0 && f.sampling != "tta":
		return usagef("--flips belongs to --uncertainty tta")
	case f.passes != 0 && f.sampling != "mc":
		return usagef("--passes belongs to --uncertainty mc")
	}
	return nil
}

// measured infers and measures. It writes the voxel map.
func (f *uncertaintyFlags) measured(ctx context.Context, r *infer.Registry, name string, in infer.Input, o infer.Options) (*infer.Output, *apps.Uncertainty, error) {
	rules, err := apps.SelectionOptions{Sampling: f.sampling, Flips: f.flips, Passes: f.passes, Seed: f.seed, Aggregation: f.aggregation}.Rules()
	if err != nil {
		return nil, nil, err
	}
	rules.Sampling.Features, rules.Sampling.Map = false, f.which
	begin := time.Now()
	m, err := r.Measure(ctx, name, in, o, rules.Sampling)
	if err != nil {
		return nil, nil, err
	}
	if !m.Maps.Finite {
		return nil, nil, fault.New(fault.Invalid, "the model's probabilities are no numbers; the image or the model is damaged")
	}
	told, err := rules.Uncertainty(ctx, apps.Seen{Model: name, Volume: in.Volumes[0], Measured: m, Took: time.Since(begin)})
	if err == nil && m.Map != nil {
		err = atomicfile.Write(f.out, 0o644, func(w io.Writer) error {
			return codec.Write(w, codec.Ext(f.out), m.Map, codec.WriteOptions{Compress: true})
		})
	}
	return &m.Output, told, err
}

// printUncertainty prints the scores and the regions.
func printUncertainty(w io.Writer, u *apps.Uncertainty) error {
	if u == nil {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "uncertainty (%s, %d passes, %s):", u.Sampling, u.Passes, u.Aggregation)
	for _, m := range slices.Sorted(maps.Keys(u.Scores)) {
		fmt.Fprintf(&b, " %s %.4f", m, u.Scores[m])
	}
	for _, r := range u.Regions {
		fmt.Fprintf(&b, "\n     region of %.0f mm³, mean entropy %.3f, around voxel %v: i %d..%d, j %d..%d, k %d..%d",
			r.Volume, r.Mean, r.Peak, r.Min[0], r.Max[0], r.Min[1], r.Max[1], r.Min[2], r.Max[2])
	}
	_, err := fmt.Fprintln(w, b.String())
	return err
}
