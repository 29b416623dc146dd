package cli

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/simulate"
	"github.com/voxloop/voxloop/internal/triage"
	"github.com/voxloop/voxloop/strategies"
)

// triageFlags are the flags of `voxloop triage`.
type triageFlags struct {
	studies, out, model, app, strategy string
	sampling, aggregation              string
	flips                              []string
	passes                             int
	pictures                           bool
	device, ort                        string
	threads                            int
	seed                               uint64
	json                               bool
}

func newTriage(s streams) *cobra.Command {
	var f triageFlags
	c := &cobra.Command{
		Use:   "triage --studies DIR --model NAME|DIR --out DIR",
		Short: "Rank the unlabelled images of a folder by how unsure a model is of them",
		Long: `Rank the unlabelled images of a folder by how unsure a model is of them, without a
server. The ranking goes to --out as ranking.csv, ranking.json and ranking.html, a page
with a picture of the least sure slice of every image. Images that cannot be used are
named and left out; the exit code is then 1.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runTriage(c.Context(), s, f) },
	}
	c.Flags().StringVarP(&f.studies, "studies", "s", "", "folder with the images; labels in labels/final")
	c.Flags().StringVarP(&f.model, "model", "m", "", "a model of the app, or a model folder")
	c.Flags().StringVar(&f.app, "app", "radiology", "the app that has the model")
	c.Flags().StringVar(&f.out, "out", "", "folder for the ranking")
	c.Flags().StringVar(&f.strategy, "strategy", "entropy", fmt.Sprintf("one of %v, tta-js, tta-dice", strategies.Kinds()))
	c.Flags().StringVar(&f.sampling, "sampling", "", fmt.Sprintf("one of %v; default: what the strategy needs, else tta", apps.Samplings()))
	c.Flags().StringSliceVar(&f.flips, "flips", nil, "mirrorings of tta, as x,y,xy; default: all")
	c.Flags().IntVar(&f.passes, "passes", 10, "passes of mc")
	c.Flags().StringVar(&f.aggregation, "aggregation", "foreground", "how a map becomes a score: foreground, top, patch, class, whole")
	c.Flags().BoolVar(&f.pictures, "pictures", true, "draw a slice of every image")
	c.Flags().Uint64Var(&f.seed, "seed", 0, "of everything that is drawn")
	c.Flags().StringVar(&f.device, "device", "", "cpu, openvino or cuda; default: the best one that loads")
	c.Flags().StringVar(&f.ort, "ort", "", "an own ONNX Runtime library")
	c.Flags().IntVar(&f.threads, "threads", 0, "threads of the network; 0: all cores")
	c.Flags().BoolVar(&f.json, "json", false, "print the ranking as JSON")
	return c
}

// check reports wrong usage before any work is done, and returns the strategy
// and how images are looked at.
func (f *triageFlags) check() (spec strategies.Spec, look apps.LookRules, err error) {
	switch {
	case f.studies == "":
		return spec, look, usagef("triage needs --studies DIR")
	case f.model == "":
		return spec, look, usagef("triage needs --model NAME|DIR")
	case f.out == "":
		return spec, look, usagef("triage needs --out DIR")
	case !ort.KnownDevice(f.device):
		return spec, look, usagef("--device %q is not cpu, openvino or cuda", f.device)
	case f.threads < 0:
		return spec, look, usagef("--threads %d is negative", f.threads)
	case f.strategy == simulate.Random:
		return spec, look, usagef("--strategy random ranks nothing")
	}
	if spec, err = simulate.SpecOf(f.strategy, f.seed); err != nil {
		return spec, look, &usageError{err}
	}
	spec.Diversity = strategies.Undiverse // a ranking, not a batch of different images
	if look, err = f.rules(spec); err != nil {
		return spec, look, &usageError{err}
	}
	if need := spec.Needs().Passes; need != nil && !slices.Contains(need, look.Passes) {
		return spec, look, usagef("--strategy %s needs passes of %v; --sampling %s makes others", f.strategy, need, f.sampling)
	}
	return spec, look, nil
}

// rules chooses the sampling that the strategy needs where none is named.
func (f *triageFlags) rules(spec strategies.Spec) (apps.LookRules, error) {
	if f.sampling == "" {
		f.sampling = "tta"
		if need := spec.Needs().Passes; need != nil && !slices.Contains(need, strategies.Augmented) {
			f.sampling = string(need[0])
		}
	}
	return apps.SelectionOptions{Sampling: f.sampling, Flips: f.flips, Passes: f.passes, Aggregation: f.aggregation, Seed: f.seed}.Rules()
}

func runTriage(ctx context.Context, s streams, f triageFlags) error {
	spec, rules, err := f.check()
	if err != nil {
		return err
	}
	log := quietLogger(s.err)
	found, err := apps.StudiesImages(ctx, apps.StudiesOptions{Studies: f.studies, Logger: slog.New(slog.DiscardHandler)}) // the folder is looked at once
	if err != nil {
		return err
	}
	r := infer.NewRegistry(infer.RegistryOptions{
		Runtime: lazyRuntime(f.ort, f.device, s.err, log), Device: f.device, CacheDir: modelCache(), Threads: f.threads, Logger: log,
	})
	defer r.Close()
	name, err := addModel(r, f.app, f.model)
	if err != nil {
		return err
	}
	if err := r.Wait(ctx, name); err != nil {
		return err
	}
	bar := newProgress(s.err, "images")
	defer bar.close()
	l := looker{registry: r, model: name, rules: rules, pictures: f.pictures}
	o := triage.Options{Model: name, Spec: spec, Seed: f.seed, Look: l.look, Done: bar.set}
	var unusable []triage.Skip
	for _, img := range found {
		if img.Quarantined != "" {
			unusable = append(unusable, triage.Skip{ID: img.ID, Why: img.Quarantined})
			continue
		}
		o.Images = append(o.Images, triage.Image{ID: img.ID, Files: img.Files, Labelled: img.Labelled})
	}
	report, err := triage.Run(ctx, o)
	if err != nil {
		return err
	}
	bar.close()
	report.Skipped = append(report.Skipped, unusable...)
	return f.tell(s, report)
}

// looker looks at images with a model.
type looker struct {
	registry *infer.Registry
	model    string
	rules    apps.LookRules
	pictures bool
}

func (l looker) look(ctx context.Context, img triage.Image) (*triage.Looked, error) {
	var in infer.Input
	for _, name := range img.Files {
		v, err := codec.Read(ctx, name, codec.Limits{})
		if err != nil {
			return nil, err
		}
		in.Volumes = append(in.Volumes, v)
	}
	sampling := l.rules.Sampling
	if l.pictures && !img.Labelled {
		sampling.Map = infer.MapEntropy
	}
	begin := time.Now()
	m, err := l.registry.Measure(ctx, l.model, in, infer.Options{}, sampling)
	if err != nil {
		return nil, err
	}
	out := &triage.Looked{}
	if out.Observation, err = l.rules.Observe(ctx, apps.Seen{Image: img.ID, Model: l.model, Volume: in.Volumes[0], Measured: m, Took: time.Since(begin)}); err != nil {
		return nil, err
	}
	if m.Map != nil {
		out.Picture, err = triage.Draw(ctx, in.Volumes[0], m.Map)
	}
	return out, err
}

// tell writes the ranking and names what was left out.
func (f *triageFlags) tell(s streams, r *triage.Report) error {
	if err := r.WriteTo(f.out); err != nil {
		return err
	}
	if f.json {
		if err := r.WriteJSON(s.out); err != nil {
			return err
		}
	} else if err := f.summary(s, r); err != nil {
		return err
	}
	for _, k := range r.Skipped {
		fmt.Fprintf(s.err, "skipped %s: %s\n", k.ID, k.Why)
	}
	if n := len(r.Skipped); n > 0 {
		return fault.New(fault.Invalid, "%d of %d images were left out", n, n+len(r.Rows)+r.Labelled)
	}
	return nil
}

func (f *triageFlags) summary(s streams, r *triage.Report) error {
	for _, row := range r.Rows[:min(len(r.Rows), 10)] {
		score := ""
		if v := row.Explanation.Score; v == v { //nolint:gocritic // not NaN
			score = fmt.Sprintf("%.4f", v)
		}
		if _, err := fmt.Fprintf(s.out, "%4d  %-32s %8s  %s\n", row.Rank, row.Image.ID, score, row.Explanation.Why); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(s.out, "%d images ranked by %s with %s: %s/%s\n", len(r.Rows), f.strategy, r.Model, f.out, triage.HTMLFile)
	return err
}
