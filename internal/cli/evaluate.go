package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/evaluate"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/metrics"
	"github.com/voxloop/voxloop/internal/imaging/morph"
)

// maxPictures keeps a slip of the keyboard from filling the disk.
const maxPictures = 999

// cohortFlags are what evaluate and postprocess-ablation have in common.
type cohortFlags struct {
	pred, truth, manifest string
	resamples             int
	seed                  uint64
	json                  bool
}

func (f *cohortFlags) add(s *pflag.FlagSet) {
	s.StringVar(&f.pred, "pred", "", "folder with the predicted label maps")
	s.StringVar(&f.truth, "truth", "", "folder with the true label maps, of the same names")
	s.StringVar(&f.manifest, "manifest", "", "a model's manifest.yaml: names the classes")
	s.IntVar(&f.resamples, "resamples", 2000, "resamplings of the bootstrap")
	s.Uint64Var(&f.seed, "seed", 1, "seed of the bootstrap")
	s.BoolVar(&f.json, "json", false, "print the summary as JSON")
}

func (f *cohortFlags) check(command string) error {
	switch {
	case f.pred == "" || f.truth == "":
		return usagef("%s needs --pred DIR and --truth DIR", command)
	case f.resamples < 1:
		return usagef("--resamples %d is below 1", f.resamples)
	}
	return nil
}

// pairs finds the pairs and the classes.
func (f *cohortFlags) pairs() ([]evaluate.Pair, []evaluate.Skip, []evaluate.Class, error) {
	classes, err := manifestClasses(f.manifest)
	if err != nil {
		return nil, nil, nil, err
	}
	pairs, skipped, err := evaluate.FindPairs(f.pred, f.truth)
	if err == nil && len(pairs)+len(skipped) == 0 {
		err = fault.New(fault.NotFound, "there is no label map in %s or %s", f.pred, f.truth)
	}
	return pairs, skipped, classes, err
}

// manifestClasses returns the foreground classes of a manifest; none without a
// file.
func manifestClasses(path string) ([]evaluate.Class, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path) //nolint:gosec // the user names the file
	if err != nil {
		return nil, err
	}
	m, err := infer.ParseManifest(data)
	if err != nil {
		return nil, err
	}
	var classes []evaluate.Class
	for _, l := range m.Labels {
		if l.Value != 0 {
			classes = append(classes, evaluate.Class{Label: uint16(l.Value), Name: l.Name}) //nolint:gosec // ParseManifest checked it
		}
	}
	return classes, nil
}

// skippedError names the pairs that were skipped, one a line, and fails.
func skippedError(s streams, skipped []evaluate.Skip, done int) error {
	if len(skipped) == 0 {
		return nil
	}
	var b strings.Builder
	for _, k := range skipped {
		fmt.Fprintln(&b, printable(fmt.Sprintf("voxloop: skipped %s: %s", k.Case, k.Reason)))
	}
	if _, err := fmt.Fprint(s.err, b.String()); err != nil {
		return err
	}
	return fault.New(fault.Invalid, "%d of %d cases could not be used", len(skipped), len(skipped)+done)
}

// evaluateFlags are the flags of `voxloop evaluate`.
type evaluateFlags struct {
	cohortFlags
	out, images, probabilities string
	empty, weight, surface     string
	tolerance, overlap         float64
	connectivity, bins, worst  int
}

func newEvaluate(s streams) *cobra.Command {
	var f evaluateFlags
	c := &cobra.Command{
		Use:   "evaluate --pred DIR --truth DIR --out DIR",
		Short: "Compare predicted label maps with true ones",
		Long: `Compare predicted label maps with true ones of the same names. DIR gets cases.csv
(a row per case and foreground class), summary.json and summary.md (the cohort with
bootstrap intervals, worst cases first) and overlays/ (pictures of the worst cases).
With --probabilities also calibration.csv. docs/evaluate.md tells the conventions.

A pair that cannot be used (no partner, unreadable, another grid) is named and
skipped; the exit code is then 1, and the results are of the others.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runEvaluate(c.Context(), s, f) },
	}
	f.add(c.Flags())
	c.Flags().StringVar(&f.out, "out", "", "folder for the results")
	c.Flags().StringVar(&f.images, "images", "", "folder with the images behind the label maps, for the pictures")
	c.Flags().StringVar(&f.empty, "empty", "monai", "convention for classes without voxels: monai, monai-keep or nnunet")
	c.Flags().Float64Var(&f.tolerance, "tolerance", 1, "millimetres within which a surface is right (nsd)")
	c.Flags().StringVar(&f.surface, "nsd", "voxels", "what nsd counts: surface voxels, or the area of the surface between voxel centres (area)")
	c.Flags().Float64Var(&f.overlap, "lesion-overlap", 0, "part of a lesion that must be covered; 0: one voxel")
	c.Flags().IntVar(&f.connectivity, "connectivity", 26, "neighbours that make one lesion: 6, 18 or 26; 4 or 8 in slices")
	c.Flags().StringVar(&f.weight, "generalised-weight", "square", "weight of a class of true volume v in the generalised Dice: square (1/v²), simple (1/v) or uniform")
	c.Flags().StringVar(&f.probabilities, "probabilities", "", "folder with images of class probabilities, of the same names: ECE, Brier score")
	c.Flags().IntVar(&f.bins, "bins", 15, "bins of confidence of the ECE")
	c.Flags().IntVar(&f.worst, "worst", 5, "cases that get a picture")
	return c
}

func (f *evaluateFlags) check() (evaluate.Options, error) {
	var o evaluate.Options
	if err := f.cohortFlags.check("evaluate"); err != nil {
		return o, err
	}
	empty, err := metrics.ParseEmpty(f.empty)
	weight, weightErr := metrics.ParseWeight(f.weight)
	switch {
	case f.out == "":
		return o, usagef("evaluate needs --out DIR")
	case err != nil:
		return o, usagef("--empty: %w", err)
	case weightErr != nil:
		return o, usagef("--generalised-weight: %w", weightErr)
	case f.surface != "voxels" && f.surface != "area":
		return o, usagef("--nsd %q is neither voxels nor area", f.surface)
	case f.bins < 1:
		return o, usagef("--bins %d is below 1", f.bins)
	case f.worst < 0 || f.worst > maxPictures:
		return o, usagef("--worst %d is not within 0..%d", f.worst, maxPictures)
	case !(f.tolerance > 0):
		return o, usagef("--tolerance %g is not above 0", f.tolerance)
	}
	o = evaluate.Options{
		Empty: empty, Tolerance: f.tolerance, Overlap: f.overlap, Connectivity: morph.Connectivity(f.connectivity),
		Resamples: f.resamples, Seed: f.seed, Weight: weight, Bins: f.bins, Area: f.surface == "area",
	}
	if err := o.Connectivity.Check(); err != nil {
		return o, usagef("--connectivity: %w", err)
	}
	if err := o.Check(); err != nil {
		return o, &usageError{err}
	}
	return o, nil
}

func runEvaluate(ctx context.Context, s streams, f evaluateFlags) error {
	o, err := f.check()
	if err != nil {
		return err
	}
	pairs, skipped, classes, err := f.pairs()
	if err != nil {
		return err
	}
	var missing []evaluate.Skip
	if f.probabilities != "" {
		if missing, err = evaluate.AddProbabilities(pairs, f.probabilities); err != nil {
			return err
		}
	}
	if err := evaluate.Prepare(f.out, f.images); err != nil {
		return err
	}
	bar := newProgress(s.err, "evaluating")
	o.Classes, o.Progress = classes, bar.set
	res, err := evaluate.Cohort(ctx, pairs, skipped, o)
	bar.close()
	if err != nil {
		return err
	}
	res.Uncalibrated = append(missing, res.Uncalibrated...)
	slices.SortStableFunc(res.Uncalibrated, func(a, b evaluate.Skip) int { return strings.Compare(a.Case, b.Case) })
	sum, err := res.Summary(ctx)
	if err != nil {
		return err
	}
	bare, err := res.WriteTo(ctx, sum, f.out, f.worst, f.images)
	if err != nil {
		return err
	}
	if err := printEvaluation(s, f, sum); err != nil {
		return err
	}
	return tellEvaluation(s, res, bare)
}

// tellEvaluation names what could not be used, one a line, and fails when there
// is any.
func tellEvaluation(s streams, res *evaluate.Result, bare []evaluate.Skip) error {
	var b strings.Builder
	for _, k := range bare {
		fmt.Fprintln(&b, printable(fmt.Sprintf("voxloop: the picture of %s lacks its image: %s", k.Case, k.Reason)))
	}
	for _, k := range res.Uncalibrated {
		fmt.Fprintln(&b, printable(fmt.Sprintf("voxloop: %s is not in the calibration: %s", k.Case, k.Reason)))
	}
	if _, err := fmt.Fprint(s.err, b.String()); err != nil {
		return err
	}
	if err := skippedError(s, res.Skipped, len(res.Cases)); err != nil {
		return err
	}
	switch {
	case len(res.Uncalibrated) > 0:
		return fault.New(fault.Invalid, "the probabilities of %d cases could not be used", len(res.Uncalibrated))
	case len(bare) > 0:
		return fault.New(fault.Invalid, "%d images could not be used", len(bare))
	}
	return nil
}

// checkFolder refuses a file to write whose folder is not there, before any
// work is done for it.
func checkFolder(out string) error {
	if info, err := os.Stat(filepath.Dir(out)); os.IsNotExist(err) || err == nil && !info.IsDir() {
		return fault.New(fault.NotFound, "the folder of %s does not exist", out)
	}
	return nil
}

// printEvaluation tells the mean Dice by class.
func printEvaluation(s streams, f evaluateFlags, sum evaluate.Summary) error {
	if f.json {
		return sum.WriteJSON(s.out)
	}
	for _, c := range sum.Classes {
		d, n := c.Metrics[evaluate.Dice.String()], c.Name
		if d.Mean == nil {
			if _, err := fmt.Fprintf(s.out, "%3d  %-24s no case has a Dice\n", c.Label, n); err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprintf(s.out, "%3d  %-24s Dice %.4f [%.4f, %.4f] in %d cases\n", c.Label, n, *d.Mean, *d.Low, *d.High, d.N); err != nil {
			return err
		}
	}
	if c := sum.Calibration; c != nil && c.Pooled != nil {
		if _, err := fmt.Fprintf(s.out, "calibration of %d cases: ECE %.4f, Brier %.4f (all voxels together)\n", c.Cases, c.Pooled.ECE, c.Pooled.Brier); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(s.out, "%d cases evaluated, %d skipped; results in %s\n", sum.Cases, len(sum.Skipped), f.out)
	return err
}
