package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/simulate"
	"github.com/voxloop/voxloop/trainers"
)

// simulateFlags are the flags of `voxloop simulate`.
type simulateFlags struct {
	studies, state, model, app, out, config, device, ort string
	strategies, set                                      []string
	seeds, start, query, rounds, look, steps, passes     int
	threads, nice                                        int
	minutes, test                                        float64
	scratch                                              bool
}

func newSimulate(s streams) *cobra.Command {
	var f simulateFlags
	c := &cobra.Command{
		Use:   "simulate --studies DIR --strategies random,bald --out DIR",
		Short: "Compare selection strategies on images that are labelled already",
		Long: `Compare selection strategies: the whole loop on images whose labels exist. For every
seed, a model is trained on the same first images; then each strategy chooses more of
them round by round, with the model that it has so far, and a model is trained on. A
share of the subjects judges all models and is never trained on. OUT/report.html has
learning curves and comparisons, summary.json all numbers, cases.csv every test image.

A simulation that was stopped goes on when the same command is given again; more --seeds
are added to those that are there.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runSimulate(c.Context(), s, f) },
	}
	fl := c.Flags()
	fl.StringVarP(&f.studies, "studies", "s", "", "folder with the images; their labels are in labels/final")
	fl.StringVar(&f.state, "state", "", "state folder of a server that ran on the studies; default: .voxloop in the studies folder")
	fl.StringVarP(&f.model, "model", "m", "", "a model of the app, or a model folder, to begin from; its weights are forgotten in round 0 (default: the app's only model)")
	fl.StringVar(&f.app, "app", "radiology", "the app that has the model")
	fl.StringVar(&f.out, "out", "", "folder of the simulation")
	fl.StringSliceVar(&f.strategies, "strategies", []string{"random", "fgrandom", "entropy", "bald", "tta", "clasp"}, "what is compared")
	fl.IntVar(&f.seeds, "seeds", 3, "repetitions with other first images and weights")
	fl.IntVar(&f.start, "start", 5, "labelled images to begin with")
	fl.IntVar(&f.query, "query", 5, "images chosen in a round")
	fl.IntVar(&f.rounds, "rounds", 4, "rounds")
	fl.IntVar(&f.look, "pool", 0, "images that are offered in a round, drawn at random, the same for all strategies; 0: all that are left")
	fl.Float64Var(&f.test, "test", 0.2, "share of the subjects that judges")
	fl.Float64Var(&f.minutes, "minutes-per-round", 1, "time of a training; turned into steps in the first one, then the same for all")
	fl.IntVar(&f.steps, "steps", 0, "steps of a training, in place of --minutes-per-round")
	fl.BoolVar(&f.scratch, "scratch", false, "train every round from new weights, not from the model of the round before")
	fl.IntVar(&f.passes, "passes", 10, "passes of Monte-Carlo dropout")
	fl.StringVar(&f.config, "config", "", "training configuration, YAML or JSON")
	fl.StringArrayVar(&f.set, "set", nil, "a key of the training configuration, as optimizer.rate=1e-3; repeatable")
	fl.StringVar(&f.device, "device", "", "device of the looks: cpu, openvino or cuda; default: the best")
	fl.StringVar(&f.ort, "ort", "", "an own ONNX Runtime library")
	fl.IntVar(&f.threads, "threads", 0, "threads of a step; 0: all cores")
	fl.IntVar(&f.nice, "nice", 0, "lower the priority, 1 to 19")
	return c
}

func (f *simulateFlags) check() error {
	switch {
	case f.studies == "":
		return usagef("simulate needs --studies DIR")
	case f.out == "":
		return usagef("simulate needs --out DIR")
	case !(f.test > 0 && f.test < 1):
		return usagef("--test %g is not a share between 0 and 1", f.test)
	case f.passes < 2:
		return usagef("--passes %d: at least 2 can differ", f.passes)
	case f.threads < 0:
		return usagef("--threads %d is negative", f.threads)
	case f.nice < 0 || f.nice > 19:
		return usagef("--nice %d is not within 0..19", f.nice)
	}
	return nil
}

func runSimulate(ctx context.Context, s streams, f simulateFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	if err := lowerPriority(f.nice); err != nil {
		return err
	}
	log := quietLogger(s.err)
	show := newTrainView(s, false)
	show.quiet = true
	defer show.close()
	t := trainFlags{
		studies: f.studies, state: f.state, app: f.app, config: f.config, set: f.set, seed: 1,
		changed: func(string) bool { return false },
	}
	config, err := t.configuration()
	if err != nil {
		return &usageError{err}
	}
	cases, err := t.labelled(ctx, log, show)
	if err != nil {
		return err
	}
	if f.model, err = onlyModel(f.app, f.model); err != nil {
		return err
	}
	base, cleanup, err := modelFolder(f.app, f.model)
	if err != nil {
		return err
	}
	defer func() {
		if err := cleanup(); err != nil {
			show.warn("a temporary folder could not be removed")
		}
	}()
	o, e, err := f.plan(base, config, cases)
	if err != nil {
		return err
	}
	e.trainer, e.runtime, e.log, e.event = nativeTrainer(f.ort, "", s, log), lazyRuntime(f.ort, f.device, s.err, log), log, show.event
	if err := e.ready(ctx, o.Strategies, o.PoolIDs[0]); err != nil {
		return err
	}
	return f.play(ctx, s, o, e)
}

// plan divides the cases and writes down what decides the simulation.
func (f *simulateFlags) plan(base string, config trainers.Config, cases []trainers.Case) (simulate.Options, *simulationEngine, error) {
	o := simulate.Options{
		Strategies: f.strategies, Seeds: f.seeds, Start: f.start, Query: f.query, Rounds: f.rounds, Scratch: f.scratch, Look: f.look, Passes: f.passes,
		Steps: f.steps, Minutes: f.minutes, Code: build().Version, Config: config,
	}
	if f.steps > 0 {
		o.Minutes = 0
	}
	p, err := infer.OpenPipeline(os.DirFS(base), infer.PipelineOptions{})
	if err != nil {
		return o, nil, err
	}
	o.Model = p.Version()
	split, err := trainers.HoldOut(cases, f.test)
	if err != nil {
		return o, nil, err
	}
	e := &simulationEngine{base: base, cases: map[string]trainers.Case{}, config: config, device: f.device, library: f.ort, threads: f.threads, passes: f.passes}
	for _, c := range split {
		e.cases[c.ID] = c
		if c.Role == trainers.Validate {
			o.TestIDs = append(o.TestIDs, c.ID)
		} else {
			o.PoolIDs = append(o.PoolIDs, c.ID)
		}
	}
	if len(o.PoolIDs) == 0 {
		return o, nil, fault.New(fault.Invalid, "no labelled image is in %s", f.studies)
	}
	return o, e, nil
}

// play runs the simulation and writes the report of what is there, also when it
// is stopped.
func (f *simulateFlags) play(ctx context.Context, s streams, o simulate.Options, e *simulationEngine) error {
	fmt.Fprintln(s.out, o)
	o, rounds, err := simulate.Run(ctx, o, f.out, e, func(p simulate.Progress) {
		name := p.Round.Strategy
		if p.Round.Round == 0 {
			name = "start"
		}
		fmt.Fprintf(s.out, "%d/%d  seed %d  %s  round %d  %d labelled  Dice %.4f  (%.0f s scoring, %.0f s training)\n",
			p.Done, p.All, p.Round.Seed, name, p.Round.Round, p.Round.Labelled, p.Round.Mean(), p.Round.ScoreSeconds, p.Round.TrainSeconds)
	})
	if len(rounds) == 0 {
		return err
	}
	a := simulate.Analyse(o.Strategies, rounds)
	if werr := simulate.Report(f.out, o, rounds, a); werr != nil {
		return errors.Join(err, werr)
	}
	for _, c := range a.Ranking() {
		fmt.Fprintf(s.out, "%-10s mean Dice over the budget %.4f, at the end %.4f\n", c.Strategy, c.Area.Mean, c.End().Dice.Mean)
	}
	for _, p := range a.Pairs {
		fmt.Fprintln(s.out, p.Sentence())
	}
	fmt.Fprintln(s.out, filepath.Join(f.out, "report.html"))
	if fault.KindOf(err) == fault.Canceled && ctx.Err() != nil {
		fmt.Fprintln(s.err, "the same command goes on from here")
		return context.Canceled
	}
	return err
}

// onlyModel is the model that is meant where none is named.
func onlyModel(app, model string) (string, error) {
	if model != "" {
		return model, nil
	}
	src, err := findApp(app)
	if err != nil {
		return "", err
	}
	file, err := apps.ReadFile(src.fsys)
	if err != nil {
		return "", err
	}
	if len(file.Models) == 1 {
		return file.Models[0].Name, nil
	}
	var names []string
	for _, m := range file.Models {
		names = append(names, m.Name)
	}
	return "", usagef("app %s has several models: name one with --model: %s", app, strings.Join(names, ", "))
}
