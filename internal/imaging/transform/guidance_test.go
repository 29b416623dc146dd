package transform_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging/transform"
	"github.com/voxloop/voxloop/internal/testkit"
)

// TestClickSignalGolden compares with MONAI's DeepEdit signal.
func TestClickSignalGolden(t *testing.T) {
	dir := testkit.Shared(t, "golden", "numerics", "guidance")
	b, err := os.ReadFile(filepath.Join(dir, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Cases []golden }
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range all.Cases {
		if g.Operation != "AddGuidanceSignalDeepEditd" {
			continue
		}
		n++
		g.dir = dir
		t.Run(g.Name, func(t *testing.T) {
			want := g.want(t, "foreground_signal")
			size := [3]int(want.Shape[1:])
			clicks := param(t, g, "clicks", map[string][][3]int{})["fg"]
			got := make([]float32, size[0]*size[1]*size[2])
			transform.ClickSignal(got, size, clicks, param(t, g, "sigma", 0.0))
			g.compare(t, "signal", got, want, 0)
		})
	}
	if n != 12 {
		t.Errorf("%d cases, want 12", n)
	}
}
