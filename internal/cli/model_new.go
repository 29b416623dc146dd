package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/voxloop/voxloop/conf"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/trainers/design"
)

// modelNewFlags are the flags of `voxloop model new`.
type modelNewFlags struct {
	studies, from, out, name string
	labels                   []string
	kind, memory, modality   string
	patch, spacing           string
	minutes, dropout         float64
	heads                    bool
	features, cores          int
	seed                     uint64
	json                     bool

	changed func(flag string) bool
}

func newModelNew(s streams) *cobra.Command {
	var f modelNewFlags
	c := &cobra.Command{
		Use:   "new --studies DIR --labels NAME=VALUE,… --out DIR",
		Short: "Design a network for the labelled images of a folder",
		Long: `Design a network for the labelled images of a folder (labels/final), by nnU-Net's
rules within a budget of memory and time on this machine, and write it as a model
folder with random weights: voxloop train makes a model of it. The same images,
flags and cores give the same files.

With --from the network of an existing model is kept, with what it has learned;
its classes become those of --labels. Classes of the same name keep their weights.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f.changed = c.Flags().Changed
			return runModelNew(c.Context(), s, f)
		},
	}
	f.register(c)
	return c
}

func (f *modelNewFlags) register(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVarP(&f.studies, "studies", "s", "", "folder with the images; their labels are in labels/final")
	fl.StringSliceVar(&f.labels, "labels", nil, "classes and their values in label files, as anterior=1,posterior=2; default: those on record, else the values found")
	fl.StringVar(&f.from, "from", "", "model folder whose network is given other classes")
	fl.StringVar(&f.out, "out", "", "folder to be made")
	fl.StringVar(&f.name, "name", "", "name shown for the model")
	fl.StringVar(&f.kind, "type", design.Plain, "plain, or residual: blocks with shortcuts in the encoder")
	fl.StringVar(&f.memory, "memory", "4GiB", "memory that a training step may take")
	fl.Float64Var(&f.minutes, "minutes", design.DefaultMinutes, "time of training that the network is made for")
	fl.IntVar(&f.cores, "cores", 0, "cores that will train; 0: all of this machine")
	fl.StringVar(&f.patch, "patch", "", "size of patches and windows along x, y, z, as 40,56,40; default: from the images and the budget")
	fl.StringVar(&f.spacing, "spacing", "", "voxel size in mm along x, y, z, as 1,1,2.5; default: from the images")
	fl.Float64Var(&f.dropout, "dropout", 0.1, "share of values dropped in training; 0: none, and no Monte-Carlo dropout later")
	fl.BoolVar(&f.heads, "deep-supervision", false, "outputs at lower resolutions, for training only")
	fl.IntVar(&f.features, "features", 0, "features of the first encoder stage; 0: by the budget")
	fl.StringVar(&f.modality, "modality", "", "MR, CT, …; CT normalises by fixed numbers; default: CT or MR by the values")
	fl.Uint64Var(&f.seed, "seed", 1, "seed of the random weights")
	fl.BoolVar(&f.json, "json", false, "print the plan as JSON")
}

// designFlags only make sense where a network is designed.
var designFlags = []string{"type", "memory", "minutes", "cores", "patch", "spacing", "dropout", "deep-supervision", "features", "modality"}

// check reports wrong usage before any work is done.
func (f *modelNewFlags) check() error {
	switch {
	case f.out == "":
		return usagef("model new needs --out DIR")
	case f.studies == "" && f.from == "":
		return usagef("model new needs --studies DIR (or --from DIR)")
	case f.from != "" && f.studies != "":
		return usagef("--from keeps a network, --studies designs one: give one of them")
	case f.from != "" && len(f.labels) == 0:
		return usagef("--from needs --labels NAME=VALUE,…")
	case f.cores < 0:
		return usagef("--cores %d is negative", f.cores)
	case f.features < 0:
		return usagef("--features %d is negative", f.features)
	case !(f.minutes > 0):
		return usagef("--minutes %g is not above 0", f.minutes)
	case f.kind != design.Plain && f.kind != design.Residual:
		return usagef("--type %q is neither %s nor %s", f.kind, design.Plain, design.Residual)
	case !(f.dropout >= 0 && f.dropout < 1):
		return usagef("--dropout %g is not from 0 to below 1", f.dropout)
	}
	for _, name := range designFlags {
		if f.from != "" && f.changed(name) {
			return usagef("--%s changes nothing with --from: the network is kept", name)
		}
	}
	return nil
}

func runModelNew(ctx context.Context, s streams, f modelNewFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	labels, err := parseLabels(f.labels)
	if err != nil {
		return err
	}
	if f.from != "" {
		return runModelFrom(s, f, labels)
	}
	o, err := f.options()
	if err != nil {
		return err
	}
	r, err := f.fingerprint(ctx, s, labels)
	if err != nil {
		return err
	}
	plan, err := design.NewPlan(r.Fingerprint, o)
	if err != nil {
		return err
	}
	files, err := plan.Files(r.Fingerprint, design.Labelling{Name: f.name, Modality: f.modality, Seed: f.seed})
	if err != nil {
		return err
	}
	if err := writeModel(f.out, files); err != nil {
		return err
	}
	r.Model, r.Plan = f.out, plan
	if f.json {
		return printJSON(s.out, r)
	}
	return r.print(s.out, f)
}

// writeModel checks the manifest as the registry will, and writes the folder.
func writeModel(out string, files []design.File) error {
	for _, file := range files {
		if file.Name != design.ManifestFile {
			continue
		}
		if _, err := infer.ParseManifest(file.Data); err != nil {
			return err
		}
	}
	return design.WriteFolder(out, files)
}

// fingerprint looks at the studies.
func (f *modelNewFlags) fingerprint(ctx context.Context, s streams, labels map[string]int) (*modelReport, error) {
	cases, orphans, err := design.Studies(f.studies)
	if err != nil {
		return nil, err
	}
	r := &modelReport{LabelsFrom: "--labels"}
	for _, id := range orphans {
		r.Skipped = append(r.Skipped, design.Skipped{ID: id, Reason: "there is no image for this label"})
	}
	if labels == nil {
		r.LabelsFrom = "the labels' records"
		if labels, err = design.RecordedLabels(f.studies); err != nil {
			return nil, err
		}
		if labels == nil {
			r.LabelsFrom = "the values found; name them with --labels"
		}
	}
	bar := newProgress(s.err, "fingerprint")
	defer bar.close()
	r.Fingerprint, err = design.Scan(ctx, cases, design.ScanOptions{Labels: labels, Modality: f.modality, Progress: bar.set})
	if err != nil {
		return nil, err
	}
	r.Skipped = append(r.Skipped, r.Fingerprint.Skipped...)
	return r, nil
}

// options turns the flags into wishes for the plan.
func (f *modelNewFlags) options() (design.Options, error) {
	o := design.Options{
		Type: f.kind, Features: f.features, Dropout: f.dropout, DeepSupervision: f.heads, Minutes: f.minutes, Cores: f.cores,
	}
	if o.Cores == 0 {
		o.Cores = ort.Cores()
	}
	memory, err := conf.ParseBytes(f.memory)
	if err != nil || memory == 0 {
		return o, usagef("--memory %q is no size; write for example 4GB", f.memory)
	}
	o.Memory = int64(memory)
	if f.patch != "" {
		for word := range strings.SplitSeq(f.patch, ",") {
			n, err := strconv.Atoi(strings.TrimSpace(word))
			if err != nil || n < 1 {
				return o, usagef("--patch %q is no list of whole numbers such as 40,56,40", f.patch)
			}
			o.Patch = append(o.Patch, n)
		}
	}
	if f.spacing == "" {
		return o, nil
	}
	words := strings.Split(f.spacing, ",")
	if len(words) != len(o.Spacing) {
		return o, usagef("--spacing %q is no list of three numbers such as 1,1,2.5", f.spacing)
	}
	for k, word := range words {
		v, err := strconv.ParseFloat(strings.TrimSpace(word), 64)
		if err != nil || !(v > 0 && v <= 1000) {
			return o, usagef("--spacing %q is no list of three numbers in mm such as 1,1,2.5", f.spacing)
		}
		o.Spacing[k] = v
	}
	return o, nil
}

// parseLabels reads NAME=VALUE words; nil for none.
func parseLabels(words []string) (map[string]int, error) {
	if len(words) == 0 {
		return nil, nil
	}
	labels := map[string]int{}
	for _, word := range words {
		name, text, ok := strings.Cut(word, "=")
		name = strings.TrimSpace(name)
		value, err := strconv.Atoi(strings.TrimSpace(text))
		if !ok || name == "" || err != nil || value < 1 || value > 65535 {
			return nil, usagef("--labels: %q is not of the form NAME=VALUE with a value within 1..65535", word)
		}
		if _, twice := labels[name]; twice {
			return nil, usagef("--labels names %s twice", name)
		}
		labels[name] = value
	}
	return labels, nil
}

// readModelFile reads a file of a model folder.
func readModelFile(dir, name string) ([]byte, error) {
	data, err := os.ReadFile(dir + string(os.PathSeparator) + name) //nolint:gosec // the user names the folder
	if errors.Is(err, os.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "model folder %s: it has no %s", dir, name)
	}
	if err != nil {
		return nil, fmt.Errorf("model folder %s: %w", dir, err)
	}
	return data, nil
}
