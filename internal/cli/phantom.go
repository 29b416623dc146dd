package cli

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/voxloop/voxloop/internal/phantom"
)

// maxPhantoms keeps a slip of the keyboard from filling the disk.
const maxPhantoms = 100_000

func newPhantom(s streams) *cobra.Command {
	var (
		out  string
		n    int
		seed int64
	)
	c := &cobra.Command{
		Use:   "phantom --out DIR",
		Short: "Make synthetic cases to try things on",
		Long: `Make synthetic cases: two touching curved structures in textured noise, like the
crops that the hippocampus model was trained on. Images are DIR/phantom_0001.nii.gz
and so on; their true label maps have the same names in DIR/.truth. The same seed
gives the same files.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if out == "" {
				return usagef("phantom needs --out DIR")
			}
			if n < 1 || n > maxPhantoms {
				return usagef("--n %d is not within 1..%d", n, maxPhantoms)
			}
			if err := phantom.WriteCases(c.Context(), out, n, seed); err != nil {
				return err
			}
			_, err := fmt.Fprintf(s.out, "%d cases in %s, their true label maps in %s\n", n, out, filepath.Join(out, phantom.TruthDir))
			return err
		},
	}
	c.Flags().StringVar(&out, "out", "", "folder for the images")
	c.Flags().IntVar(&n, "n", 12, "number of cases")
	c.Flags().Int64Var(&seed, "seed", 1, "seed of the set")
	return c
}
