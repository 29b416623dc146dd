package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestLabelSections runs hd95 and components on maps of 4³ voxels.
func TestLabelSections(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, labels map[int]byte) string {
		b := make([]byte, 64)
		for i, l := range labels {
			b[i] = l
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pred := file("pred", map[int]byte{0: 1, 63: 2})
	truth := file("truth", map[int]byte{2: 1, 47: 2}) // 1.6 mm along x, 1.5 mm along z
	out := filepath.Join(dir, "out.json")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"hd95", "--pred", pred, "--truth", truth, "--edge", "4", "--result", out}, "[1.600000023841858,1.5]"},
		{[]string{"components", "--in", pred, "--edge", "4", "--result", out}, "[1,1]"},
	} {
		if err := run(t.Context(), tt.args, &bytes.Buffer{}); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(out); err != nil || string(got) != tt.want {
			t.Errorf("%s: %s, %v; want %s", tt.args[0], got, err, tt.want)
		}
	}
	if err := run(t.Context(), []string{"components", "--in", pred, "--edge", "5"}, &bytes.Buffer{}); err == nil {
		t.Error("a map of another size is taken")
	}
}
