package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/imaging/harmonize"
)

// fitFlags are the flags of `voxloop harmonize fit`.
type fitFlags struct {
	studies, labels, out               string
	images                             []string
	method, foreground, site, modality string
	percentiles, scale, percent, to    list
	clip, json                         bool
	channel                            int
}

func newHarmonizeFit(s streams) *cobra.Command {
	var f fitFlags
	c := &cobra.Command{
		Use:   "fit --studies DIR|--images FILE… --method METHOD --out FILE.json",
		Short: "Learn a scale of intensities from a set of images",
		Long: `Learn a scale of intensities from a set of images and keep it as JSON, for
"harmonize apply" and for the normalisation of a model (docs/harmonize.md).

Methods: nyul (landmarks), ct (nnU-Net's scheme; needs --labels, or --foreground),
zscore, zscore_site (needs --site), percentile, histogram.

Images that cannot be used are named and left out; the exit code is then 1.`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(f.images) == 0 && len(args) > 0 {
				return usagef("unexpected argument %q", args[0])
			}
			f.images = append(f.images, args...) // of a pattern that the shell has expanded
			return runFit(c.Context(), s, f)
		},
	}
	c.Flags().StringVar(&f.studies, "studies", "", "folder of images")
	c.Flags().StringArrayVar(&f.images, "images", nil, "an image; repeatable, and further arguments are images too")
	c.Flags().StringVar(&f.method, "method", "", harmonize.MethodNames())
	c.Flags().StringVar(&f.out, "out", "", "where the model goes: a .json file")
	c.Flags().StringVar(&f.labels, "labels", "", "folder of label maps with the images' names; voxels other than 0 are the foreground")
	c.Flags().StringVar(&f.foreground, "foreground", "", "all, nonzero or above_mean; default: above_mean for nyul, else all")
	c.Flags().StringVar(&f.site, "site", "", "zscore_site: a pattern with one group that finds the site in a file's name, or a .csv of image,site")
	c.Flags().StringVar(&f.modality, "modality", "", "kept in the model and compared with a manifest's; default: CT for method ct")
	c.Flags().IntVar(&f.channel, "channel", -1, "which channel, from 0; needed when there are several")
	c.Flags().Var(&f.percentiles, "percentiles", "nyul: of the landmarks (default 1,10,20,…,90,99)")
	c.Flags().Var(&f.scale, "scale", "nyul: where the first and the last landmark go (default 1,100)")
	c.Flags().Var(&f.percent, "percent", "percentile: which two (default 0.5,99.5)")
	c.Flags().Var(&f.to, "to", "percentile: where they go (default 0,1)")
	c.Flags().BoolVar(&f.clip, "clip", false, "percentile: cut off there")
	c.Flags().BoolVar(&f.json, "json", false, "print what was done as JSON")
	return c
}

// check reports wrong usage before any image is read.
func (f *fitFlags) check() error {
	method := harmonize.Method(f.method)
	switch {
	case (f.studies == "") == (len(f.images) == 0):
		return usagef("harmonize fit needs --studies DIR or --images FILE…, one of them")
	case f.method == "":
		return usagef("harmonize fit needs --method: one of %s", harmonize.MethodNames())
	case f.out == "":
		return usagef("harmonize fit needs --out FILE.json")
	case !strings.EqualFold(filepath.Ext(f.out), ".json"):
		return usagef("--out %s: the ending must be .json", f.out)
	case f.labels != "" && f.foreground != "":
		return usagef("--labels says what the foreground is; --foreground %s contradicts it", f.foreground)
	case f.foreground == string(harmonize.Labelled):
		return usagef("--foreground label: name the folder of label maps with --labels instead")
	case method == harmonize.CT && f.labels == "" && f.foreground == "":
		return usagef("method ct learns from labelled voxels: name their folder with --labels, or give --foreground")
	case (method == harmonize.ZScoreSite) != (f.site != ""):
		return usagef("--site belongs to method zscore_site, and is needed there")
	case method != harmonize.Nyul && (f.percentiles != nil || f.scale != nil):
		return usagef("--percentiles and --scale belong to method nyul")
	case method != harmonize.Percentile && (f.percent != nil || f.to != nil || f.clip):
		return usagef("--percent, --to and --clip belong to method percentile")
	}
	return checkChannel(f.channel)
}

// options returns what is learned.
func (f *fitFlags) options() (harmonize.FitOptions, error) {
	o := harmonize.FitOptions{
		Method: harmonize.Method(f.method), Foreground: harmonize.Foreground(f.foreground), Modality: f.modality,
		Percentiles: f.percentiles, Clip: f.clip, Library: "voxloop " + build().Version,
	}
	if f.labels != "" {
		o.Foreground = harmonize.Labelled
	}
	if o.Modality == "" && o.Method == harmonize.CT {
		o.Modality = "CT"
	}
	var errs [3]error
	o.Scale, errs[0] = f.scale.pair("scale")
	o.Percent, errs[1] = f.percent.pair("percent")
	o.To, errs[2] = f.to.pair("to")
	for _, err := range errs {
		if err != nil {
			return o, err
		}
	}
	if err := o.Check(); err != nil {
		return o, &usageError{err}
	}
	return o, nil
}

func runFit(ctx context.Context, s streams, f fitFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	o, err := f.options()
	if err != nil {
		return err
	}
	if err := checkFolder(f.out); err != nil {
		return err
	}
	paths, err := f.paths()
	if err != nil {
		return err
	}
	siteOf, err := siteFinder(f.site)
	if err != nil {
		return err
	}
	bar := newProgress(s.err, "harmonize fit")
	o.Progress = bar.set
	m, failed, err := harmonize.Fit(ctx, len(paths), func(ctx context.Context, i int) (harmonize.Sample, error) {
		return f.load(ctx, paths[i], siteOf)
	}, o)
	bar.close()
	for _, x := range failed {
		fmt.Fprintln(s.err, printable(fmt.Sprintf("skipped %s: %s", filepath.Base(paths[x.Index]), line(x.Err))))
	}
	if err != nil {
		return err
	}
	if err := atomicfile.Write(f.out, 0o644, m.Write); err != nil {
		return err
	}
	if err := f.report(s, m); err != nil {
		return err
	}
	if len(failed) > 0 {
		return fault.New(fault.Invalid, "%d of %d images could not be used", len(failed), len(paths))
	}
	return nil
}

// fitReport is what `voxloop harmonize fit --json` prints.
type fitReport struct {
	Out string `json:"out"`
	*harmonize.Model
}

func (f *fitFlags) report(s streams, m *harmonize.Model) error {
	if f.json {
		return printJSON(s.out, fitReport{f.out, m})
	}
	p := m.Provenance
	_, err := fmt.Fprintf(s.out, "%s: method %s, %d images, %d voxels (%s)\n", f.out, m.Method, p.Images, p.Voxels, m.Foreground)
	if err == nil && p.Empty > 0 {
		_, err = fmt.Fprintf(s.out, "%d of them have no labelled voxel\n", p.Empty)
	}
	return err
}

// load reads one image, with its label map where one is wanted.
func (f *fitFlags) load(ctx context.Context, path string, siteOf func(string) string) (harmonize.Sample, error) {
	var s harmonize.Sample
	v, err := codec.Read(ctx, path, codec.Limits{})
	if err != nil {
		return s, err
	}
	if s.Values, err = valuesOf(v, f.channel); err != nil {
		return s, err
	}
	s.Site = siteOf(filepath.Base(path))
	if f.labels == "" {
		return s, nil
	}
	name, err := labelFile(f.labels, filepath.Base(path))
	if err != nil {
		return s, err
	}
	lv, err := codec.Read(ctx, name, codec.Limits{})
	if err != nil {
		return s, fmt.Errorf("its label map: %w", err)
	}
	l, err := imaging.LabelMapOf(lv)
	if err != nil {
		return s, fault.Wrap(fault.Invalid, err, "its label map")
	}
	l, ok := codec.Align(l, v.Grid)
	if !ok {
		return s, fault.New(fault.Invalid, "its label map lies on another grid")
	}
	s.Labels = l.Data
	return s, nil
}

// paths returns the images in the order of their names.
func (f *fitFlags) paths() ([]string, error) {
	if f.studies == "" {
		paths := slices.Clone(f.images)
		slices.Sort(paths)
		if c := slices.Compact(slices.Clone(paths)); len(c) < len(paths) {
			return nil, usagef("an image is named twice")
		}
		return paths, nil
	}
	entries, err := os.ReadDir(f.studies)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries { // sorted by name
		if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") && codec.Known(codec.Ext(e.Name())) && !strings.HasSuffix(strings.ToLower(e.Name()), ".seg.nrrd") {
			paths = append(paths, filepath.Join(f.studies, e.Name()))
		}
	}
	if len(paths) == 0 {
		return nil, fault.New(fault.NotFound, "there is no image in %s", f.studies)
	}
	return paths, nil
}

// labelFile finds the label map of an image: its name, or its name with
// another ending.
func labelFile(dir, image string) (string, error) {
	base := strings.TrimSuffix(image, codec.Ext(image))
	for _, ext := range []string{codec.Ext(image), ".nii.gz", ".nii", ".nrrd", ".seg.nrrd", ".nhdr"} {
		path := filepath.Join(dir, base+ext)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		} else if !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
	}
	return "", fault.New(fault.NotFound, "it has no label map in the folder of labels")
}
