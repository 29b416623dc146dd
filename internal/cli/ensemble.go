package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/trainers/design"
)

func newModelEnsemble(s streams) *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "ensemble --out DIR FOLDER FOLDER…",
		Short: "Put trained model folders together into one model",
		Long: `Put model folders that differ in their weights only (the folds of a
cross-validation, say) together into one model folder. Its scores are the means of the
members' before the activation; voxloop infer --uncertainty ensemble compares the members.
It is a model folder like any other: it can be served, published and evaluated.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usagef("model ensemble needs at least two model folders")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if out == "" {
				return usagef("model ensemble needs --out DIR")
			}
			files, err := ensembleOf(args)
			if err != nil {
				return err
			}
			if err := design.WriteFolder(out, files); err != nil {
				return err
			}
			_, err = fmt.Fprintf(s.out, "%s: %d members\n", out, len(args))
			return err
		},
	}
	c.Flags().StringVar(&out, "out", "", "folder to be made")
	return c
}

// ensembleOf returns the files of an ensemble of model folders.
func ensembleOf(dirs []string) ([]design.File, error) {
	var names []string
	var members []fs.FS
	for _, d := range dirs {
		names, members = append(names, folderName(d)), append(members, os.DirFS(d))
	}
	content, err := infer.Ensemble(names, members)
	if err != nil {
		return nil, err
	}
	var files []design.File
	for _, name := range slices.Sorted(maps.Keys(content)) {
		files = append(files, design.File{Name: name, Data: content[name]})
	}
	return files, nil
}

// writeEnsemble makes the ensemble of folds at dir; one that is there already
// and the same stays.
func writeEnsemble(dir string, folds []string) error {
	files, err := ensembleOf(folds)
	if err != nil {
		return err
	}
	for _, f := range files {
		have, err := os.ReadFile(filepath.Join(dir, f.Name)) //nolint:gosec // a folder that the user names
		if errors.Is(err, fs.ErrNotExist) || err == nil && !bytes.Equal(have, f.Data) {
			return design.WriteFolder(dir, files)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
