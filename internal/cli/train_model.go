package cli

import (
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
)

// findModel resolves what the user calls a model: a folder with a manifest, or
// else a model of the app. dir is empty where the model is no folder on disk.
func findModel(app, model string) (fsys fs.FS, dir string, err error) {
	if isFile(filepath.Join(model, infer.ManifestFile)) {
		dir, err := filepath.Abs(model)
		return nil, dir, err
	}
	if strings.ContainsRune(model, filepath.Separator) || isDir(model) {
		return nil, "", fault.New(fault.NotFound, "model folder %s: it has no %s", model, infer.ManifestFile)
	}
	src, err := findApp(app)
	if err != nil {
		return nil, "", err
	}
	file, err := apps.ReadFile(src.fsys)
	if err != nil {
		return nil, "", err
	}
	var names []string
	for _, m := range file.Models {
		if m.Name != model {
			names = append(names, m.Name)
			continue
		}
		if src.dir != "" {
			dir, err := filepath.Abs(filepath.Join(src.dir, filepath.FromSlash(m.Path)))
			return nil, dir, err
		}
		sub, err := fs.Sub(src.fsys, m.Path)
		return sub, "", err
	}
	return nil, "", fault.New(fault.NotFound, "app %s has no model %q; it has %s", app, model, strings.Join(names, ", "))
}
