package cli

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/imaging/nrrd"
)

func newInspect(s streams) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "inspect FILE…",
		Short: "Say what an image file holds and what is odd about it",
		Long: `Read NIfTI and NRRD files in full and report geometry, voxel type, statistics,
labels, segments and problems. A file that cannot be read in full (its header promises
more than it holds, its checksum is wrong, …) is named with the reason; the exit code
is then 1. Problems of files that can be read leave it at 0.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("inspect needs a file")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return runInspect(c.Context(), s, args, asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON document per file")
	return c
}

func runInspect(ctx context.Context, s streams, paths []string, asJSON bool) error {
	var failed []error
	for i, path := range paths {
		r, err := inspect(ctx, path)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			failed = append(failed, err)
			if asJSON {
				err = printJSON(s.out, failure{File: path, Error: line(err)})
			} else if len(paths) > 1 {
				_, err = fmt.Fprintf(s.err, "voxloop: %s\n", line(err))
			} else {
				err = nil
			}
		} else if asJSON {
			err = printJSON(s.out, r)
		} else {
			err = r.print(s.out, i > 0)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case len(failed) == 0:
		return nil
	case len(paths) == 1:
		return failed[0]
	}
	return fmt.Errorf("%d of %d files cannot be read", len(failed), len(paths))
}

// failure is the JSON document of a file that cannot be read.
type failure struct {
	File  string `json:"file"`
	Error string `json:"error"`
}

// maxChannels is how many channels inspect looks at: a small file may hold
// millions of one voxel each.
const maxChannels = 4096

// inspect reads a file and all that is to be said about it.
func inspect(ctx context.Context, path string) (*inspection, error) {
	f, err := codec.ReadFile(ctx, path, codec.Limits{})
	if err != nil {
		return nil, err
	}
	var segments []nrrd.Segment
	if f.NRRD != nil {
		if segments, err = f.NRRD.Segments(); err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", filepath.Base(path), err)
		}
	}
	stats := make([]channelStats, min(f.Channels, maxChannels))
	for c := range stats {
		if stats[c], err = statistics(ctx, f.Volume, c, len(segments) > 0); err != nil {
			return nil, err
		}
	}
	r := newInspection(path, f)
	r.addStatistics(stats, segments)
	r.Problems = append(r.Problems, findProblems(f, stats, segments)...)
	return r, nil
}
