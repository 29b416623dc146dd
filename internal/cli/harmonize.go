package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/imaging/harmonize"
)

func newHarmonize(s streams) *cobra.Command {
	return group("harmonize", "Bring the intensities of images onto one scale", newHarmonizeFit(s), newHarmonizeApply(s))
}

// applyFlags are the flags of `voxloop harmonize apply`.
type applyFlags struct {
	model, reference, image, out, site string
	testTime                           float64
	channel                            int
	json                               bool
}

func newHarmonizeApply(s streams) *cobra.Command {
	var f applyFlags
	c := &cobra.Command{
		Use:   "apply --model FILE.json|--reference IMAGE --image FILE --out FILE",
		Short: "Harmonise one image with a fitted model, or match it with one image",
		Long: `Harmonise one image with a model of "harmonize fit", or match its histogram with that
of one other image. The result is float32 on the image's grid.

--test-time W (0 to 1) moves the numbers that the model keeps to those of the image at
hand: 0 takes the model's, 1 the image's only. For zscore, zscore_site, percentile, ct.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runApply(c.Context(), s, f) },
	}
	c.Flags().StringVar(&f.model, "model", "", "the fitted model")
	c.Flags().StringVar(&f.reference, "reference", "", "an image whose histogram is taken, instead of a model")
	c.Flags().StringVar(&f.image, "image", "", "the image; - reads standard input")
	c.Flags().StringVar(&f.out, "out", "", "where the result goes: .nii, .nii.gz, .nrrd")
	c.Flags().StringVar(&f.site, "site", "", "the image's site, for zscore_site")
	c.Flags().Float64Var(&f.testTime, "test-time", 0, "weight of the image's own numbers, 0 to 1")
	c.Flags().IntVar(&f.channel, "channel", -1, "which channel, from 0; needed when there are several. The others stay")
	c.Flags().BoolVar(&f.json, "json", false, "print what was done as JSON")
	return c
}

func (f *applyFlags) check() error {
	switch {
	case (f.model == "") == (f.reference == ""):
		return usagef("harmonize apply needs --model FILE or --reference IMAGE, one of them")
	case f.image == "":
		return usagef("harmonize apply needs --image FILE (- reads standard input)")
	case f.out == "":
		return usagef("harmonize apply needs --out FILE")
	case !writable(f.out):
		return usagef("--out %s: the ending must be .nii, .nii.gz or .nrrd", f.out)
	case f.reference != "" && (f.site != "" || f.testTime != 0):
		return usagef("--site and --test-time belong to --model")
	case !(f.testTime >= 0 && f.testTime <= 1):
		return usagef("--test-time %g is not within 0..1", f.testTime)
	}
	return checkChannel(f.channel)
}

func checkChannel(c int) error {
	if c < -1 {
		return usagef("--channel %d: channels are counted from 0", c)
	}
	return nil
}

// writable reports whether an image, not a segmentation, can be written there.
func writable(path string) bool {
	switch strings.ToLower(codec.Ext(path)) {
	case ".nii", ".nii.gz", ".nrrd":
		return true
	}
	return false
}

func runApply(ctx context.Context, s streams, f applyFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	change, done, err := f.change(ctx)
	if err != nil {
		return err
	}
	v, o, err := f.read(ctx, s.in)
	if err != nil {
		return fmt.Errorf("image %s: %w", f.image, err)
	}
	channel, err := channelOf(v, f.channel)
	if err != nil {
		return fmt.Errorf("image %s: %w", f.image, err)
	}
	out := imaging.NewVolume(v.Grid, v.Channels, imaging.Float32)
	data, _ := out.Data.(imaging.Samples[float32])
	v.Data.Float32s(data, 0, v.Slope, v.Intercept)
	if err := change(data[channel*v.Voxels() : (channel+1)*v.Voxels()]); err != nil {
		return fmt.Errorf("image %s: %w", f.image, err)
	}
	if err := codec.WriteFile(ctx, f.out, out, o); err != nil {
		return fmt.Errorf("%s: %w", f.out, err)
	}
	done["out"] = f.out
	if f.json {
		return printJSON(s.out, done)
	}
	_, err = fmt.Fprintf(s.out, "%s: method %s\n", f.out, done["method"])
	return err
}

// read reads the image, and what its file says beyond the voxels, but for a
// range of intensities to be shown.
func (f *applyFlags) read(ctx context.Context, stdin io.Reader) (*imaging.Volume, codec.WriteOptions, error) {
	o := codec.WriteOptions{Compress: true}
	if f.image == "-" {
		v, err := readVolume(ctx, stdin, f.image)
		return v, o, err
	}
	file, err := codec.ReadFile(ctx, f.image, codec.Limits{})
	if err != nil {
		return nil, o, err
	}
	if file.NIfTI != nil {
		file.NIfTI.CalMin, file.NIfTI.CalMax = 0, 0
	}
	o.NIfTI, o.NRRD, o.Axes = file.NIfTI, file.NRRD, file.Axes()
	return file.Volume, o, nil
}

// change returns what is done to the chosen channel, and words about it.
func (f *applyFlags) change(ctx context.Context) (func(v []float32) error, map[string]any, error) {
	if f.reference != "" {
		ref, err := readChannel(ctx, f.reference, f.channel)
		if err != nil {
			return nil, nil, fmt.Errorf("reference %s: %w", f.reference, err)
		}
		return func(v []float32) error { return harmonize.MatchHistograms(ctx, v, ref) }, map[string]any{"method": "reference"}, nil
	}
	m, err := readHarmonize(f.model)
	if err != nil {
		return nil, nil, fmt.Errorf("model %s: %w", f.model, err)
	}
	u := harmonize.Use{Site: f.site, TestTime: f.testTime}
	if err := m.Check(u); err != nil {
		return nil, nil, fmt.Errorf("model %s: %w", f.model, err)
	}
	done := map[string]any{"method": m.Method, "test_time": f.testTime}
	if f.site != "" {
		done["site"] = f.site
	}
	return func(v []float32) error { return m.Apply(ctx, v, u) }, done, nil
}

// readHarmonize reads a fitted model.
func readHarmonize(path string) (*harmonize.Model, error) {
	file, err := os.Open(path) //nolint:gosec // the user names it
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, harmonize.MaxSize+1))
	_ = file.Close() // it was only read
	if err != nil {
		return nil, err
	}
	return harmonize.Parse(data)
}

// readChannel reads one channel of an image file.
func readChannel(ctx context.Context, path string, channel int) ([]float32, error) {
	v, err := codec.Read(ctx, path, codec.Limits{})
	if err != nil {
		return nil, err
	}
	return valuesOf(v, channel)
}

func valuesOf(v *imaging.Volume, channel int) ([]float32, error) {
	c, err := channelOf(v, channel)
	if err != nil {
		return nil, err
	}
	out := make([]float32, v.Voxels())
	v.Float32s(out, c, 0)
	return out, nil
}

// channelOf resolves --channel, -1 being an image's only channel.
func channelOf(v *imaging.Volume, channel int) (int, error) {
	switch {
	case channel >= v.Channels:
		return 0, fault.New(fault.Invalid, "it has %d channels; there is no channel %d", v.Channels, channel)
	case channel < 0 && v.Channels > 1:
		return 0, fault.New(fault.Invalid, "it has %d channels; choose one with --channel", v.Channels)
	}
	return max(channel, 0), nil
}

// list is a flag of numbers with commas between them.
type list []float64

// Set implements pflag.Value.
func (l *list) Set(text string) error {
	*l = nil
	for word := range strings.SplitSeq(text, ",") {
		x, err := strconv.ParseFloat(strings.TrimSpace(word), 64)
		if err != nil {
			return fmt.Errorf("%q is no number", word)
		}
		*l = append(*l, x)
	}
	return nil
}

// Type implements pflag.Value.
func (l *list) Type() string { return "a,b,…" }

// String implements pflag.Value.
func (l *list) String() string {
	var words []string
	for _, x := range *l {
		words = append(words, strconv.FormatFloat(x, 'g', -1, 64))
	}
	return strings.Join(words, ",")
}

// pair returns a list of two numbers, or zeros for none.
func (l *list) pair(flag string) ([2]float64, error) {
	switch len(*l) {
	case 0:
		return [2]float64{}, nil
	case 2:
		return [2]float64(*l), nil
	}
	return [2]float64{}, usagef("--%s %s: two numbers are needed", flag, l)
}
