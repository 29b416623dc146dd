package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/voxloop/voxloop/internal/imaging/augment"
	"github.com/voxloop/voxloop/internal/imaging/codec"
)

// corruptFlags are the flags of `voxloop corrupt`.
type corruptFlags struct {
	image, out, kind, all string
	severity              int
	seed                  uint64
	json                  bool
}

func newCorrupt(s streams) *cobra.Command {
	var f corruptFlags
	c := &cobra.Command{
		Use:   "corrupt --image FILE (--kind KIND --severity 1..5 --out FILE | --all DIR)",
		Short: "Make an image worse in a graded way, to test how robust a model is",
		Long: `Make an image worse in a graded way, to test how robust a model is. Kinds:
` + strings.Join(augment.Kinds(), ", ") + `.
Severities are 1 (mild) to 5; docs/augmentation.md has the table.

The geometry and the stored type stay, so the image's label map fits the result.
With --all every kind and severity is written, to DIR/KIND/SEVERITY/ under the
image's own name: each such folder is a studies folder of one condition. The same
seed and image give the same files.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runCorrupt(c.Context(), s, f) },
	}
	c.Flags().StringVar(&f.image, "image", "", "the image")
	c.Flags().StringVar(&f.kind, "kind", "", "the corruption")
	c.Flags().IntVar(&f.severity, "severity", 0, "1 to 5")
	c.Flags().StringVar(&f.out, "out", "", "where the corrupted image goes")
	c.Flags().StringVar(&f.all, "all", "", "folder for all kinds and severities")
	c.Flags().Uint64Var(&f.seed, "seed", 1, "seed of everything random")
	c.Flags().BoolVar(&f.json, "json", false, "print what was done as JSON")
	return c
}

// check reports wrong usage before any work is done.
func (f *corruptFlags) check() error {
	if f.image == "" {
		return usagef("corrupt needs --image FILE")
	}
	if f.all != "" {
		if f.kind != "" || f.severity != 0 || f.out != "" {
			return usagef("--all makes every kind and severity; it cannot be used with --kind, --severity, --out")
		}
		return f.checkEnding("--image", f.image)
	}
	switch {
	case f.kind == "":
		return usagef("corrupt needs --kind, one of %s, or --all DIR", strings.Join(augment.Kinds(), ", "))
	case !slices.Contains(augment.Kinds(), f.kind):
		return usagef("--kind %q is not one of %s", f.kind, strings.Join(augment.Kinds(), ", "))
	case f.severity < 1 || f.severity > augment.Severities:
		return usagef("--severity %d is not within 1..%d", f.severity, augment.Severities)
	case f.out == "":
		return usagef("corrupt needs --out FILE")
	}
	return f.checkEnding("--out", f.out)
}

// checkEnding refuses names that say no format to write.
func (f *corruptFlags) checkEnding(flag, name string) error {
	switch strings.ToLower(codec.Ext(name)) {
	case ".nii", ".nii.gz", ".nrrd":
		return nil
	}
	return usagef("%s %s: the ending must be .nii, .nii.gz or .nrrd", flag, name)
}

// corruptReport is one line of what `voxloop corrupt --json` prints.
type corruptReport struct {
	Out string `json:"out"`
	augment.Corruption
}

func runCorrupt(ctx context.Context, s streams, f corruptFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	v, err := codec.ReadFile(ctx, f.image, codec.Limits{})
	if err != nil {
		return err
	}
	var done []corruptReport
	for _, t := range f.tasks() {
		r, err := corruptTo(ctx, v, t, f)
		if err != nil {
			return err
		}
		done = append(done, r)
		if f.json {
			continue
		}
		if _, err := fmt.Fprintf(s.out, "%s: %s, severity %d: changed by %.4g, %d voxels cut off\n",
			r.Out, r.Kind, r.Severity, r.Change, r.Clipped); err != nil {
			return err
		}
	}
	if f.json {
		return printJSON(s.out, done)
	}
	return nil
}

// corruptTask is one file to make.
type corruptTask struct {
	kind     string
	severity int
	out      string
}

func (f *corruptFlags) tasks() []corruptTask {
	if f.all == "" {
		return []corruptTask{{f.kind, f.severity, f.out}}
	}
	var tasks []corruptTask
	for _, kind := range augment.Kinds() {
		for n := 1; n <= augment.Severities; n++ {
			out := filepath.Join(f.all, kind, strconv.Itoa(n), filepath.Base(f.image))
			tasks = append(tasks, corruptTask{kind, n, out})
		}
	}
	return tasks
}

// corruptTo makes one file; it is complete or the earlier one stays.
func corruptTo(ctx context.Context, v *codec.File, t corruptTask, f corruptFlags) (corruptReport, error) {
	r := corruptReport{Out: t.out}
	name := filepath.Base(f.image)
	id := strings.TrimSuffix(name, codec.Ext(name))
	bad, what, err := augment.Corrupt(ctx, v.Volume, t.kind, t.severity, f.seed, id)
	if err != nil {
		return r, fmt.Errorf("image %s: %w", name, err)
	}
	r.Corruption = what
	if f.all != "" {
		if err := os.MkdirAll(filepath.Dir(t.out), 0o755); err != nil { //nolint:gosec // images are shared with the people who work on them
			return r, err
		}
	}
	o := codec.WriteOptions{Compress: true, NIfTI: v.NIfTI, NRRD: v.NRRD, Axes: v.Axes()}
	if err := codec.WriteFile(ctx, t.out, bad, o); err != nil {
		return r, fmt.Errorf("%s: %w", t.out, err)
	}
	return r, nil
}
