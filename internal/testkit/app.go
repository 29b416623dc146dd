package testkit

import (
	"os"
	"path/filepath"
	"testing"
)

// ReferenceApp returns a copy of the app radiology that serves the shared
// folder's starting model, whose Dice was recorded in Python: for tests that
// compare the pipeline with that, whatever model the app ships.
func ReferenceApp(t testing.TB) string {
	t.Helper()
	network := Shared(t, "models", "hippocampus", "model.onnx")
	dir := filepath.Join(t.TempDir(), "app")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(Root(t), "apps", "radiology"))); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(network) //nolint:gosec // of the shared folder
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "models", "hippocampus", "model.onnx"), data, 0o600); err != nil { //nolint:gosec // in the test's own folder
		t.Fatal(err)
	}
	return dir
}
