package native

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort/orttest"
)

// testSegments recomputes in all network goldens: for a run by hand.
var testSegments, _ = strconv.Atoi(os.Getenv("VOXLOOP_SEGMENTS"))

// TestRecomputing: a step that computes its forward pass in pieces a second time
// gives the values of one that keeps it, and is estimated to take less memory.
func TestRecomputing(t *testing.T) {
	var table strings.Builder
	seen := map[string]bool{}
	for _, v := range variants(t) {
		if seen[v.Network] || !slices.Contains([]string{"unet_res2_prelu", "unet2d_bn", "dints", "unetr"}, v.Network) {
			continue // the others add seconds, not forms of nodes
		}
		seen[v.Network] = true
		t.Run(v.Network, func(t *testing.T) {
			x, labels := v.read(t, v.X), v.read(t, v.Labels).F32(t)
			run := func(segments int) (p *Program, loss float64, gradient []float32) {
				p, err := Compile(v.model(t), Options{Shape: int64s(x.Shape), BatchStatistics: v.BatchStatistics, Gradients: true, Segments: segments})
				if err != nil {
					t.Fatal(err)
				}
				s, err := p.Open(orttest.Runtime(t), 0)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = s.Close() }()
				if loss, err = s.Run(t.Context(), x.F32(t), labels, 1e-3); err != nil {
					t.Fatal(err)
				}
				for _, q := range p.Parameters() {
					g, err := s.Gradient(q.Name)
					if err != nil {
						t.Fatal(err)
					}
					gradient = append(gradient, g...)
				}
				return p, loss, gradient
			}
			whole, loss, want := run(0)
			for _, k := range []int{2, 4} {
				p, l, got := run(k)
				fmt.Fprintf(&table, "%-20s %d segments: %6.1f of %6.1f MB, %4d of %4d nodes\n", v.Network, k,
					float64(p.Memory())/1e6, float64(whole.Memory())/1e6, len(p.graph.Graph.Nodes), len(whole.graph.Graph.Nodes))
				if d := relative(got, wide(want)); l != loss || d > max(1e-6, v.Floor.Max) {
					t.Errorf("%d segments: loss %v instead of %v, gradients differ by %g of their norm", k, l, loss, d)
				}
				if len(p.graph.Graph.Nodes) <= len(whole.graph.Graph.Nodes) {
					t.Errorf("%d segments: nothing is computed a second time", k)
				}
			}
		})
	}
	t.Logf("\n%s", table.String())
}

// TestPeak: bytes alive over a small graph, by hand. Values are named by their
// size; r is another name for a's memory.
func TestPeak(t *testing.T) {
	g := &onnx.Graph{Nodes: []*onnx.Node{
		{Op: "Relu", Inputs: []string{"x"}, Outputs: []string{"100"}},         // 100
		{Op: "Reshape", Inputs: []string{"100", "s"}, Outputs: []string{"r"}}, // 100
		{Op: "Exp", Inputs: []string{"r"}, Outputs: []string{"30"}},           // 130
		{Op: "Add", Inputs: []string{"30", "x"}, Outputs: []string{"7"}},      // 137
		{Op: "Mul", Inputs: []string{"r", "7"}, Outputs: []string{"20"}},      // 100 + 7 + 20: 30 is gone
		{Op: "Exp", Inputs: []string{"20"}, Outputs: []string{"60"}},          // 80
		{Op: "Exp", Inputs: []string{"60"}, Outputs: []string{"out"}},         // counted elsewhere
	}}
	bytes := func(name string) int64 {
		n, err := strconv.ParseInt(name, 10, 64)
		if err != nil {
			t.Errorf("asked for the size of %q", name)
		}
		return n
	}
	if got := peak(g, map[string]bool{"out": true}, bytes); got != 137 {
		t.Errorf("%d bytes instead of 137", got)
	}
	g.Nodes = slices.Delete(g.Nodes, 2, 4)
	g.Nodes[2].Inputs = []string{"r", "x"}
	if got := peak(g, map[string]bool{"out": true}, bytes); got != 120 {
		t.Errorf("%d bytes instead of 120", got)
	}
}
