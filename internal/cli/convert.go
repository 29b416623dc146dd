package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
)

// convertFlags are the flags of `voxloop convert`.
type convertFlags struct {
	dtype    string
	channel  string
	nifti    int
	round    bool
	compress bool
}

const convertible = ".nii, .nii.gz, .hdr, .img (a pair), .nrrd or .seg.nrrd"

func newConvert(s streams) *cobra.Command {
	var f convertFlags
	c := &cobra.Command{
		Use:   "convert IN OUT",
		Short: "Convert an image between NIfTI and NRRD",
		Long: `Convert an image file. What IN is shows in its content; the ending of OUT chooses the
format: .nii, .nii.gz, a pair .hdr/.img (also with .gz), .nrrd, .seg.nrrd. Voxels and
their place in the world stay as they are. What a file says beyond them (NIfTI: header
extensions, description, intent, time step; NRRD: key:=value pairs, segments) stays
within its format. A .seg.nrrd gets a segment for every label that has none.

A file that cannot be read in full is refused. An existing OUT is replaced when the
work is done.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usagef("convert needs two files, IN and OUT")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			return runConvert(c.Context(), s, f, args[0], args[1])
		},
	}
	c.Flags().StringVar(&f.dtype, "dtype", "", "store voxels as uint8, int16, float32, …; values that it cannot hold are refused")
	c.Flags().BoolVar(&f.round, "round", false, "with an integer --dtype: round to the nearest integer")
	c.Flags().StringVar(&f.channel, "channel", "", "only this channel (0 is the first), or one index per axis beyond the third, as in 4,1")
	c.Flags().IntVar(&f.nifti, "nifti", 0, "version of a NIfTI file, 1 or 2; default: IN's, or the first that fits")
	c.Flags().BoolVar(&f.compress, "compress", true, "gzip the voxels of NRRD files")
	return c
}

// check reports wrong usage before any work is done.
func (f *convertFlags) check(out string) (t imaging.DataType, channel []int, err error) {
	if codec.FileExt(out) == "" {
		return t, nil, usagef("%s: the ending must be %s", out, convertible)
	}
	if f.nifti < 0 || f.nifti > 2 {
		return t, nil, usagef("--nifti %d is neither 1 nor 2", f.nifti)
	}
	if f.dtype != "" {
		var ok bool
		if t, ok = imaging.ParseDataType(f.dtype); !ok {
			return t, nil, usagef("--dtype %q is none of uint8, int8, uint16, int16, uint32, int32, uint64, int64, float32, float64", f.dtype)
		}
	}
	if f.round && (f.dtype == "" || strings.HasPrefix(f.dtype, "float")) {
		return t, nil, usagef("--round needs an integer --dtype")
	}
	if f.channel == "" {
		return t, nil, nil
	}
	for w := range strings.SplitSeq(f.channel, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(w))
		if err != nil || n < 0 {
			return t, nil, usagef("--channel %q is not a list of indices from 0", f.channel)
		}
		channel = append(channel, n)
	}
	return t, channel, nil
}

func runConvert(ctx context.Context, s streams, f convertFlags, in, out string) error {
	t, channel, err := f.check(out)
	if err != nil {
		return err
	}
	file, err := codec.ReadFile(ctx, in, codec.Limits{})
	if err != nil {
		return err
	}
	v := file.Volume
	if channel != nil {
		if v, err = file.Channel(channel...); err != nil {
			return fmt.Errorf("--channel %s: %w", f.channel, err)
		}
	}
	if t != imaging.Unknown {
		if v, err = codec.Retype(ctx, v, t, f.round); err != nil {
			return fmt.Errorf("--dtype %s: %w", f.dtype, err)
		}
	}
	o := codec.WriteOptions{
		Compress: f.compress, NIfTI: file.NIfTI, NRRD: file.NRRD, NIfTIVersion: f.nifti, Axes: file.Axes(),
	}
	if codec.FileExt(out) == ".seg.nrrd" {
		if v, o.Segments, err = segmentation(ctx, file, v, channel); err != nil {
			return fmt.Errorf("%s: %w", out, err)
		}
	}
	if err := codec.WriteFile(ctx, out, v, o); err != nil {
		return fmt.Errorf("%s: %w", out, err)
	}
	_, err = fmt.Fprintf(s.out, "%s: %d×%d×%d, %s, channels: %d\n", out, v.Size[0], v.Size[1], v.Size[2], v.Data.Type(), v.Channels)
	return err
}
