package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/voxloop/voxloop/internal/dataset"
)

// dataVerdict is what `voxloop data verify --json` prints.
type dataVerdict struct {
	Name     string            `json:"name"`
	Cases    int               `json:"cases"`
	Files    int               `json:"files"`
	Problems []dataset.Problem `json:"problems"`
}

func newDataVerify(s streams) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "verify DIR",
		Short: "Compare a studies folder with the record that data fetch left in it",
		Long: `Compare a studies folder with the record that data fetch left in it: every file by
size and SHA-256; images and labels by reading them; labels by their image's grid and
by the set's values. Every problem is named; then the exit code is 1. Files that the
record does not name, such as labels of one's own, are not looked at.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return usagef("data verify needs one folder")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return runDataVerify(c.Context(), s, args[0], asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func runDataVerify(ctx context.Context, s streams, dir string, asJSON bool) error {
	bar := newProgress(s.err, "verifying")
	r, problems, err := dataset.Verify(ctx, dir, dataset.VerifyOptions{Progress: func(done, total int64) { bar.set(int(done), int(total)) }})
	bar.close()
	if err != nil {
		return err
	}
	if asJSON {
		if problems == nil {
			problems = []dataset.Problem{}
		}
		err = printJSON(s.out, dataVerdict{r.Name, len(r.Cases), len(r.Files), problems})
	} else {
		for _, p := range problems {
			fmt.Fprintf(s.out, "%s: %s\n", p.Path, p.Reason)
		}
	}
	switch {
	case err != nil:
		return err
	case len(problems) > 0:
		return fmt.Errorf("%s: %d problems in %d files of %s", dir, len(problems), len(r.Files), r.Name)
	case !asJSON:
		_, err = fmt.Fprintf(s.out, "%s: %s, %d cases, %d files, all as recorded\n", dir, r.Name, len(r.Cases), len(r.Files))
	}
	return err
}
