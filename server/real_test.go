package server

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/ort/orttest"
	"github.com/voxloop/voxloop/internal/testkit"
)

// realApp is testApp with the starting model, called as in the recordings, on
// the machine's ONNX Runtime.
func realApp(t testing.TB) *apps.App {
	t.Helper()
	rt := orttest.Runtime(t)
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "segmentation"), os.DirFS(filepath.Join(testkit.Root(t), "apps", "radiology", "models", "hippocampus"))); err != nil {
		t.Fatal(err)
	}
	file := "name: Recorded\nversion: '1'\ndescription: The starting model under the recorded name\nmodels:\n  - path: segmentation\n"
	if err := os.WriteFile(filepath.Join(dir, apps.FileName), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	return testApp(t, func(o *apps.Options) {
		o.Dir, o.Engine = dir, nil
		o.Training = apps.TrainingOptions{Enabled: true, Command: []string{"false"}} // no test of this app trains
		o.Runtime = func(context.Context) (*ort.Runtime, error) { return rt, nil }
	})
}
