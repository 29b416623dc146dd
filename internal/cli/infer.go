package cli

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/ort"
)

// inferFlags are the flags of `voxloop infer`.
type inferFlags struct {
	model, app, out, previous string
	images                    []string
	device, ort               string
	threads                   int
	params                    pairs
	json                      bool
	uncertainty               uncertaintyFlags
}

func newInfer(s streams) *cobra.Command {
	f := inferFlags{params: pairs{}}
	c := &cobra.Command{
		Use:   "infer --model NAME|DIR --image FILE|- --out FILE",
		Short: "Segment one image without a server",
		Long: `Segment one image without a server. The model is one of the app's, by name, or any
folder with model.onnx and manifest.yaml. The label map has the image's grid and
the values of the manifest; its format follows from the ending of --out (.nii,
.nii.gz, .nrrd, .seg.nrrd). An existing file is replaced when the work is done.

Params: sw_overlap (between 0 and 1), largest_cc (true, false), result_dtype (uint8, …),
result_compress (true, false), and for interactive models LABEL=[[x,y,z],…].`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runInfer(c.Context(), s, f) },
	}
	c.Flags().StringVarP(&f.model, "model", "m", "", "a model of the app, or a model folder")
	c.Flags().StringVar(&f.app, "app", "radiology", "the app that has the model")
	c.Flags().StringArrayVar(&f.images, "image", nil, "the image; - reads standard input; once per channel")
	c.Flags().StringVar(&f.out, "out", "", "where the label map goes")
	c.Flags().StringVar(&f.previous, "label", "", "an earlier label map, for models that take one")
	c.Flags().StringVar(&f.device, "device", "", "cpu, openvino or cuda; default: the best one that loads")
	c.Flags().StringVar(&f.ort, "ort", "", "an own ONNX Runtime library")
	c.Flags().IntVar(&f.threads, "threads", 0, "threads of the network; 0: all cores")
	c.Flags().Var(f.params, "param", "an option of the inference; repeatable")
	c.Flags().BoolVar(&f.json, "json", false, "print what was done as JSON")
	f.uncertainty.register(c.Flags())
	return c
}

// check reports wrong usage before any work is done.
func (f *inferFlags) check() error {
	switch {
	case f.model == "":
		return usagef("infer needs --model NAME|DIR")
	case len(f.images) == 0:
		return usagef("infer needs --image FILE (- reads standard input)")
	case f.out == "":
		return usagef("infer needs --out FILE")
	case !codec.Known(codec.Ext(f.out)):
		return usagef("--out %s: the ending must be .nii, .nii.gz, .nrrd or .seg.nrrd", f.out)
	case !ort.KnownDevice(f.device):
		return usagef("--device %q is not cpu, openvino or cuda", f.device)
	case f.threads < 0:
		return usagef("--threads %d is negative", f.threads)
	}
	stdin := 0
	for _, name := range f.images {
		if name == "-" {
			stdin++
		}
	}
	if stdin > 1 {
		return usagef("standard input can be read once")
	}
	return f.uncertainty.check()
}

func runInfer(ctx context.Context, s streams, f inferFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	params, err := parseParams(f.params)
	if err != nil {
		return err
	}
	in, err := readInput(ctx, s.in, f)
	if err != nil {
		return err
	}
	in.Guidance = params.guidance
	log := quietLogger(s.err)
	r := infer.NewRegistry(infer.RegistryOptions{
		Runtime:  lazyRuntime(f.ort, f.device, s.err, log),
		Device:   f.device,
		CacheDir: modelCache(),
		Threads:  f.threads,
		Logger:   log,
	})
	defer r.Close()
	name, err := addModel(r, f.app, f.model)
	if err != nil {
		return err
	}
	var out *infer.Output
	var told *apps.Uncertainty
	if f.uncertainty.sampling == "" {
		out, err = r.Infer(ctx, name, in, params.options)
	} else {
		out, told, err = f.uncertainty.measured(ctx, r, name, in, params.options)
	}
	if err != nil {
		return err
	}
	if err := writeLabels(f.out, out.Labels, params); err != nil {
		return err
	}
	return report(s.out, f, out, told)
}

// readInput reads the image's channels and the earlier label map.
func readInput(ctx context.Context, stdin io.Reader, f inferFlags) (infer.Input, error) {
	var in infer.Input
	for _, name := range f.images {
		v, err := readVolume(ctx, stdin, name)
		if err != nil {
			return in, fmt.Errorf("image %s: %w", name, err)
		}
		in.Volumes = append(in.Volumes, v)
	}
	if f.previous == "" {
		return in, nil
	}
	v, err := readVolume(ctx, stdin, f.previous)
	if err == nil {
		in.Previous, err = imaging.LabelMapOf(v)
	}
	if err != nil {
		return in, fmt.Errorf("label map %s: %w", f.previous, err)
	}
	return in, nil
}

func readVolume(ctx context.Context, stdin io.Reader, name string) (*imaging.Volume, error) {
	if name == "-" {
		return codec.ReadFrom(ctx, stdin, "standard input", codec.Limits{})
	}
	return codec.Read(ctx, name, codec.Limits{})
}

// modelCache returns the folder where prepared networks and the results of
// their self-tests are kept; empty (nothing is kept) where the user has none.
func modelCache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "voxloop", "models")
}

// writeLabels writes the label map; the file is complete or the earlier one
// stays.
func writeLabels(path string, l *imaging.LabelMap, p inferParams) error {
	t := p.dtype
	if t == imaging.Unknown {
		t = imaging.Uint8
		if l.Max() > math.MaxUint8 {
			t = imaging.Uint16
		}
	}
	return atomicfile.Write(path, 0o644, func(w io.Writer) error {
		return codec.WriteLabels(w, codec.Ext(path), l, t, codec.WriteOptions{Compress: p.compress})
	})
}

// inferReport is what `voxloop infer --json` prints.
type inferReport struct {
	Out     string             `json:"out"`
	Model   string             `json:"model"`
	Version string             `json:"model_version"`
	Device  string             `json:"device"`
	Windows int                `json:"windows"`
	Labels  []labelReport      `json:"labels"`
	Seconds map[string]float64 `json:"seconds"` // by stage

	Uncertainty *apps.Uncertainty `json:"uncertainty,omitempty"`
}

type labelReport struct {
	Name   string  `json:"name"`
	Value  int     `json:"value"`
	Voxels int     `json:"voxels"`
	ML     float64 `json:"ml"` // millilitres
}

func report(w io.Writer, f inferFlags, out *infer.Output, told *apps.Uncertainty) error {
	counts := map[int]int{}
	for _, v := range out.Labels.Data {
		counts[int(v)]++
	}
	rep := inferReport{
		Out: f.out, Model: out.Model.Name, Version: out.Model.Version, Device: out.Device, Windows: out.Windows,
		Labels: []labelReport{}, Seconds: map[string]float64{}, Uncertainty: told,
	}
	voxel := math.Abs(out.Labels.Affine.Det()) / 1000 // mm³ → ml
	for _, l := range out.Model.Labels {
		if l.Value != 0 {
			n := counts[l.Value]
			rep.Labels = append(rep.Labels, labelReport{Name: l.Name, Value: l.Value, Voxels: n, ML: float64(n) * voxel})
		}
	}
	var total time.Duration
	for _, s := range out.Stages {
		rep.Seconds[s.Name] += s.Duration.Seconds()
		total += s.Duration
	}
	if f.json {
		return printJSON(w, rep)
	}
	for _, l := range rep.Labels {
		if _, err := fmt.Fprintf(w, "%3d  %-24s %9d voxels  %10.3f ml\n", l.Value, l.Name, l.Voxels, l.ML); err != nil {
			return err
		}
	}
	if err := printUncertainty(w, told); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s: %s on %s, windows: %d, %.2f s\n", rep.Out, rep.Model, rep.Device, rep.Windows, total.Seconds())
	return err
}
