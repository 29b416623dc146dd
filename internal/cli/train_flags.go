package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/trainers"
)

// trainFlags are the flags of `voxloop train` and `voxloop crossval`.
type trainFlags struct {
	studies, state, model, app, out, work string
	cases, config, augment                string
	set                                   []string
	minutes                               float64
	epochs, steps, folds, fold, nice      int
	seed                                  uint64
	scratch                               bool
	device, ort                           string
	threads                               int
	json, child                           bool

	changed func(flag string) bool
}

func (f *trainFlags) register(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVarP(&f.studies, "studies", "s", "", "folder with the images; their labels are in labels/final")
	fl.StringVar(&f.state, "state", "", "state folder of a server that ran on the studies; default: .voxloop in the studies folder")
	fl.StringVarP(&f.model, "model", "m", "", "a model of the app, or a model folder, to begin from")
	fl.StringVar(&f.app, "app", "radiology", "the app that has the model")
	fl.StringVar(&f.out, "out", "", "folder to be made")
	fl.StringVar(&f.work, "work", "", "folder for checkpoints; default: OUT.work")
	fl.StringVar(&f.work, "resume", "", "the same as --work: where an interrupted training left its checkpoints")
	fl.StringVar(&f.cases, "cases", "", "file that says which cases train and which validate: a list of folds as nnU-Net's splits_final.json, or the ids that validate")
	fl.StringVar(&f.config, "config", "", "training configuration, YAML or JSON")
	fl.StringArrayVar(&f.set, "set", nil, "a key of the configuration, as optimizer.rate=1e-3; repeatable")
	fl.StringVar(&f.augment, "augment", "", "default, full, gentle, none, or a file with a recipe")
	fl.Float64Var(&f.minutes, "minutes", 0, "time to train; turned into steps after the first ones (default 10)")
	fl.IntVar(&f.epochs, "epochs", 0, "passes over the cases to train, in place of --minutes")
	fl.IntVar(&f.steps, "steps", 0, "steps to train, in place of --minutes")
	fl.IntVar(&f.folds, "folds", 0, "train so many models, each validated on its own part of the cases")
	fl.IntVar(&f.fold, "fold", 0, "with --folds: only this one, from 0")
	fl.Uint64Var(&f.seed, "seed", 1, "seed of everything random")
	fl.BoolVar(&f.scratch, "scratch", false, "begin from new random weights")
	fl.StringVar(&f.device, "device", ort.CPU, "cpu or cuda")
	fl.StringVar(&f.ort, "ort", "", "an own ONNX Runtime library")
	fl.IntVar(&f.threads, "threads", 0, "threads of a step; 0: all cores")
	fl.IntVar(&f.nice, "nice", 0, "lower the priority, 1 to 19")
	fl.BoolVar(&f.json, "json", false, "print events as lines of JSON")
}

// check reports wrong usage before any work is done.
func (f *trainFlags) check(command string) error {
	switch {
	case f.studies == "":
		return usagef("%s needs --studies DIR", command)
	case f.model == "":
		return usagef("%s needs --model NAME|DIR", command)
	case f.out == "":
		return usagef("%s needs --out DIR", command)
	case f.device != ort.CPU && f.device != ort.CUDA:
		return usagef("--device %q is not cpu or cuda", f.device)
	case f.threads < 0:
		return usagef("--threads %d is negative", f.threads)
	case f.nice < 0 || f.nice > 19:
		return usagef("--nice %d is not within 0..19", f.nice)
	case f.changed("fold") && f.folds < 2 && f.cases == "":
		return usagef("--fold %d needs --folds, at least 2, or --cases FILE", f.fold)
	case f.changed("folds") && f.cases != "":
		return usagef("--cases lays the folds down: leave --folds out")
	}
	for flag, v := range map[string]float64{"minutes": f.minutes, "epochs": float64(f.epochs), "steps": float64(f.steps)} {
		if f.changed(flag) && !(v > 0) {
			return usagef("--%s %g is not above 0", flag, v)
		}
	}
	return nil
}

// workDir is where the checkpoints of a model go.
func (f *trainFlags) workDir(out string) string {
	if f.work == "" {
		return filepath.Clean(out) + ".work"
	}
	return f.work
}

// configuration reads the file and lets the flags have the last word.
func (f *trainFlags) configuration() (trainers.Config, error) {
	var text []byte
	if f.config != "" {
		var err error
		if text, err = os.ReadFile(f.config); err != nil {
			return trainers.Config{}, err
		}
	}
	c, err := trainers.ChangedConfig(text, f.set...)
	if err != nil {
		return c, err
	}
	if f.changed("seed") || c.Seed == 0 {
		c.Seed = f.seed
	}
	if f.changed("minutes") || f.changed("epochs") || f.changed("steps") {
		c.Minutes, c.Epochs, c.Steps = f.minutes, f.epochs, f.steps
	}
	if f.changed("folds") {
		c.Folds = f.folds
	}
	if f.changed("fold") {
		c.Fold = f.fold
	}
	if f.scratch {
		c.From = trainers.FromScratch
	}
	if f.augment != "" {
		if c.Augment, err = recipeText(f.augment); err != nil {
			return c, err
		}
	}
	return c, c.Validate()
}

// recipeText is the text of a recipe, or the word that stands for one.
func recipeText(name string) (string, error) {
	if slices.Contains(trainers.Augmentations(), name) {
		return name, nil
	}
	text, err := os.ReadFile(name) //nolint:gosec // the user names the file
	if err != nil {
		return "", fmt.Errorf("--augment: it is neither one of %s nor a file with a recipe: %w", strings.Join(trainers.Augmentations(), ", "), err)
	}
	return string(text), nil
}

// mostWarnings about the folder are shown; a folder that is laid out in another
// way has one for every file.
const mostWarnings = 20

// labelled returns the cases to be trained on.
func (f *trainFlags) labelled(ctx context.Context, log *slog.Logger, show *trainView) ([]trainers.Case, error) {
	if !isDir(f.studies) {
		return nil, usagef("--studies %s is no folder", f.studies)
	}
	studies, err := filepath.Abs(f.studies)
	if err != nil {
		return nil, err
	}
	found, err := apps.StudiesCases(ctx, apps.StudiesOptions{Studies: studies, State: f.state, Logger: log})
	if err != nil {
		return nil, err
	}
	for i, w := range found.Warnings {
		if i == mostWarnings {
			show.warn(fmt.Sprintf("%d more like these", len(found.Warnings)-i))
			break
		}
		show.warn(w)
	}
	if found.Unlabelled > 0 {
		show.note("images without a final label, left out: " + strconv.Itoa(found.Unlabelled))
	}
	return found.Cases, nil
}

// readSplits reads the file that says which cases train and which validate;
// nil where there is none.
func (f *trainFlags) readSplits() (*trainers.Splits, error) {
	if f.cases == "" {
		return nil, nil //nolint:nilnil // no file is no mistake
	}
	text, err := os.ReadFile(f.cases)
	if err != nil {
		return nil, err
	}
	s, err := trainers.ParseSplits(text)
	return &s, err
}
