// Package radiology is the app that is built into the program: app.yaml and
// the model folders that it names. `voxloop app init DIR` copies it out.
package radiology

import (
	"embed"
	"io/fs"
)

//go:embed app.yaml README.md models
var files embed.FS

// FS returns the app's folder, read only.
func FS() fs.FS { return files }
