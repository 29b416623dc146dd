package cli

import (
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
)

// addModel adds the model that the user means and returns its name: a folder
// with a manifest, or else a model of the app.
func addModel(r *infer.Registry, app, model string) (string, error) {
	if isFile(filepath.Join(model, infer.ManifestFile)) {
		name := folderName(model)
		return name, r.Add(name, model)
	}
	if strings.ContainsRune(model, filepath.Separator) || isDir(model) {
		return "", fault.New(fault.NotFound, "model folder %s: it has no %s", model, infer.ManifestFile)
	}
	src, err := findApp(app)
	if err != nil {
		return "", err
	}
	file, err := apps.ReadFile(src.fsys)
	if err != nil {
		return "", err
	}
	var names []string
	for _, m := range file.Models {
		if m.Name != model {
			names = append(names, m.Name)
			continue
		}
		sub, err := fs.Sub(src.fsys, m.Path)
		if err != nil {
			return "", err
		}
		return model, r.AddFS(model, sub)
	}
	return "", fault.New(fault.NotFound, "app %s has no model %q; it has %s", app, model, strings.Join(names, ", "))
}

// folderName names a model after its folder.
func folderName(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return filepath.Base(dir)
}
