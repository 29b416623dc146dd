package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/apps/radiology"
	"github.com/voxloop/voxloop/internal/fault"
)

// builtin holds the apps that are part of the program.
var builtin = map[string]fs.FS{"radiology": radiology.FS()}

func builtinNames() string { return strings.Join(slices.Sorted(maps.Keys(builtin)), ", ") }

// appSource is where an app comes from: a folder, or a built-in file system.
type appSource struct {
	dir  string // empty for a built-in app
	fsys fs.FS
	note string // for the log: why it is not what the user named
}

// findApp resolves --app: the name of a built-in app or a folder with app.yaml.
// An app folder of MONAI Label (main.py, no app.yaml) with the name of a
// built-in app stands for that one, so that a lab's command keeps working.
func findApp(name string) (appSource, error) {
	if fsys, ok := builtin[name]; ok {
		return appSource{fsys: fsys}, nil
	}
	if !isDir(name) {
		return appSource{}, fault.New(fault.NotFound, "app %q is neither built in (%s) nor a folder", name, builtinNames())
	}
	if isFile(filepath.Join(name, apps.FileName)) {
		return appSource{dir: name, fsys: os.DirFS(name)}, nil
	}
	base := filepath.Base(filepath.Clean(name))
	if fsys, ok := builtin[base]; ok && isFile(filepath.Join(name, "main.py")) {
		return appSource{fsys: fsys, note: "the folder holds an app of MONAI Label: the built-in app of its name is served instead"}, nil
	}
	return appSource{}, fault.New(fault.NotFound, "the app folder %s has no %s", name, apps.FileName)
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func newApp(s streams) *cobra.Command {
	return group("app", "Work with apps: folders that name the models to serve", newAppInit(s))
}

func newAppInit(s streams) *cobra.Command {
	var name string
	c := &cobra.Command{
		Use:   "init DIR",
		Short: "Copy a built-in app to DIR, to change it and serve it with --app DIR",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return usagef("app init needs one folder")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			fsys, ok := builtin[name]
			if !ok {
				return usagef("--app %q is not built in; there is %s", name, builtinNames())
			}
			if err := copyOut(fsys, args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(s.out, "app %s is in %s\n", name, args[0])
			return err
		},
	}
	c.Flags().StringVar(&name, "app", "radiology", "the built-in app")
	return c
}

// copyOut copies fsys to dir, which must be absent or empty. The folder appears
// complete or not at all.
func copyOut(fsys fs.FS, dir string) (err error) {
	dir = filepath.Clean(dir)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		return fault.New(fault.Conflict, "%s is not empty; nothing was copied", dir)
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil { //nolint:gosec // an app is shared with the people who work on it
		return err
	}
	tmp, err := os.MkdirTemp(parent, ".voxloop-app-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	whole := filepath.Join(tmp, "app")
	if err := os.CopyFS(whole, fsys); err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) { // the empty folder
		return err
	}
	return os.Rename(whole, dir)
}
