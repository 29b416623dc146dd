package cli

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/trainers"
)

// defaultFolds is the field's custom.
const defaultFolds = 5

func newCrossval(s streams) *cobra.Command {
	var f trainFlags
	c := &cobra.Command{
		Use:   "crossval --studies DIR --model NAME|DIR --out DIR",
		Short: "Cross-validate: train a model per fold and judge it on the cases it has not seen",
		Long: `Cross-validate: the labelled images are split into folds by their subjects; for each
fold a model is trained on the others and judged on the fold's cases. OUT/fold0 and so on
are the models, OUT/cases.csv has the Dice of every case, OUT/summary.json the statistics.
Flags are those of voxloop train; a run that was stopped goes on when the same command is
given again.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f.changed = c.Flags().Changed
			return runCrossval(c.Context(), s, f)
		},
	}
	f.register(c)
	return c
}

func runCrossval(ctx context.Context, s streams, f trainFlags) error {
	if err := f.check("crossval"); err != nil {
		return err
	}
	if f.changed("fold") {
		return usagef("crossval trains all folds; voxloop train --fold %d trains one", f.fold)
	}
	if err := lowerPriority(f.nice); err != nil {
		return err
	}
	j, err := f.job(ctx, s)
	if err != nil {
		return err
	}
	defer j.close()
	if j.splits == nil && j.config.Folds == 0 {
		j.config.Folds = defaultFolds
	}
	n := j.folds()
	if n < 2 {
		return usagef("cross-validation needs at least 2 folds")
	}
	manifest, err := os.ReadFile(filepath.Join(j.model, infer.ManifestFile))
	if err != nil {
		return err
	}
	m, err := infer.ParseManifest(manifest)
	if err != nil {
		return err
	}
	v, err := j.trainFolds(ctx, n)
	if err != nil {
		return err
	}
	return writeCrossval(f.out, v, m.Labels)
}

// writeCrossval writes the tables beside the models.
func writeCrossval(dir string, v trainers.CrossValidation, labels []infer.LabelSpec) error {
	err := atomicfile.Write(filepath.Join(dir, "cases.csv"), 0o644, func(w io.Writer) error { return caseTable(w, v, labels) })
	if err != nil {
		return fmt.Errorf("cases.csv: %w", err)
	}
	return atomicfile.Write(filepath.Join(dir, "summary.json"), 0o644, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	})
}

// caseTable has one line per case and class, in the order of the folds and of
// the manifest. A class that neither the label nor the prediction has is left
// empty.
func caseTable(w io.Writer, v trainers.CrossValidation, labels []infer.LabelSpec) error {
	c := csv.NewWriter(w)
	err := c.Write([]string{"case", "fold", "label", "name", "dice"})
	for _, f := range v.Folds {
		for _, s := range f.Cases {
			for _, l := range labels {
				if l.Value == 0 || err != nil {
					continue
				}
				dice := ""
				if d, ok := s.Dice[l.Name]; ok {
					dice = strconv.FormatFloat(d, 'f', 6, 64)
				}
				err = c.Write([]string{s.ID, strconv.Itoa(f.Fold), strconv.Itoa(l.Value), l.Name, dice})
			}
		}
	}
	c.Flush()
	if err == nil {
		err = c.Error()
	}
	return err
}
