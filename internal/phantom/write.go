package phantom

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
)

// TruthDir is the folder below the cases that keeps their true label maps. Its
// name starts with a dot: a server takes nothing in it for an image or a label.
const TruthDir = ".truth"

// Name returns the file name of case i, counted from 1.
func Name(i int) string { return fmt.Sprintf("phantom_%04d.nii.gz", i) }

// Seed returns the seed of case i (from 1) of a set, so that sets with
// neighbouring seeds share no case.
func Seed(set int64, i int) int64 { return set*1_000_003 + int64(i) }

// WriteCases writes n cases of a set to dir (phantom_0001.nii.gz, …) and their
// true label maps, of the same names, to dir/.truth. Folders are made as
// needed, files of the same names replaced. The same seed gives byte-identical
// files. Each file is complete or absent; between two cases ctx can end the work.
func WriteCases(ctx context.Context, dir string, n int, seed int64) error {
	if err := os.MkdirAll(filepath.Join(dir, TruthDir), 0o755); err != nil { //nolint:gosec // a studies folder is shared with the people who work on it
		return err
	}
	for i := 1; i <= n; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		img, truth := Case(Seed(seed, i))
		ext := codec.Ext(Name(i))
		err := atomicfile.Write(filepath.Join(dir, TruthDir, Name(i)), 0o644, func(w io.Writer) error {
			return codec.WriteLabels(w, ext, truth, imaging.Uint8, codec.WriteOptions{})
		})
		if err != nil {
			return fmt.Errorf("write the label map of case %d: %w", i, err)
		}
		err = atomicfile.Write(filepath.Join(dir, Name(i)), 0o644, func(w io.Writer) error {
			return codec.Write(w, ext, img, codec.WriteOptions{})
		})
		if err != nil {
			return fmt.Errorf("write the image of case %d: %w", i, err)
		}
	}
	return nil
}
