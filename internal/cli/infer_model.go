package cli

import (
	"path/filepath"

	"github.com/voxloop/voxloop/infer"
)

// addModel adds the model that the user means and returns its name: a folder
// with a manifest, or else a model of the app.
func addModel(r *infer.Registry, app, model string) (string, error) {
	fsys, dir, err := findModel(app, model)
	if err != nil {
		return "", err
	}
	name := model
	if isFile(filepath.Join(model, infer.ManifestFile)) {
		name = folderName(model)
	}
	if dir != "" {
		return name, r.Add(name, dir)
	}
	return name, r.AddFS(name, fsys)
}

// folderName names a model after its folder.
func folderName(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return filepath.Base(dir)
}
