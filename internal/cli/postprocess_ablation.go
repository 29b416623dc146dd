package cli

import (
	"context"
	"math"
	"slices"

	"github.com/spf13/cobra"

	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/internal/evaluate"
)

// ablationFlags are the flags of `voxloop postprocess-ablation`.
type ablationFlags struct {
	cohortFlags
	out     string
	volumes list
	widths  list
}

func newPostprocessAblation(s streams) *cobra.Command {
	var f ablationFlags
	c := &cobra.Command{
		Use:   "postprocess-ablation --pred DIR --truth DIR",
		Short: "Tell per class which post-processing rule helps on labelled cases",
		Long: `Try post-processing rules on every class of the predicted label maps and compare
with the true ones of the same names: the largest component, smallest volumes, hole
filling, smoothing. A rule helps when the 95 % bootstrap interval of the mean change
of Dice over the cases lies above 0; with fewer than six cases of a class there is no
verdict.

A pair that cannot be used is named and skipped; the exit code is then 1.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runAblation(c.Context(), s, f) },
	}
	f.add(c.Flags())
	c.Flags().StringVar(&f.out, "out", "", "write the results as JSON to this file too")
	f.volumes, f.widths = list{10, 30, 100, 300, 1000}, list{1}
	c.Flags().Var(&f.volumes, "volumes", "smallest volumes to try, mm³")
	c.Flags().Var(&f.widths, "smooth", "widths of smoothing to try, mm")
	return c
}

func runAblation(ctx context.Context, s streams, f ablationFlags) error {
	if err := f.check("postprocess-ablation"); err != nil {
		return err
	}
	for _, v := range slices.Concat(f.volumes, f.widths) {
		if !(v > 0) || math.IsInf(v, 0) {
			return usagef("--volumes and --smooth take numbers above 0, not %g", v)
		}
	}
	if f.out != "" {
		if err := checkFolder(f.out); err != nil {
			return err
		}
	}
	pairs, skipped, classes, err := f.pairs()
	if err != nil {
		return err
	}
	bar := newProgress(s.err, "trying rules")
	o := evaluate.Options{Classes: classes, Resamples: f.resamples, Seed: f.seed, Progress: bar.set}
	if err := o.Check(); err != nil {
		return &usageError{err}
	}
	res, err := evaluate.Ablate(ctx, pairs, skipped, evaluate.Trials(f.volumes, f.widths), o)
	bar.close()
	if err != nil {
		return err
	}
	if f.out != "" {
		if err := atomicfile.Write(f.out, 0o644, res.WriteJSON); err != nil {
			return err
		}
	}
	write := res.WriteTable
	if f.json {
		write = res.WriteJSON
	}
	if err := write(s.out); err != nil {
		return err
	}
	return skippedError(s, res.Skipped, res.Cases)
}
