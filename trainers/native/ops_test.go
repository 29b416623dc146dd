package native

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/dropout"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/ort/orttest"
	"github.com/voxloop/voxloop/internal/testkit"
)

// opTolerance is the largest relative L2 error of one operator's result or
// gradient against float64 PyTorch (golden/networks/README.md).
const opTolerance = 1e-5

// opCase is one case of golden/networks/ops.
type opCase struct {
	Name     string
	Training bool
	X, DX    []string
	Params   []struct{ Onnx, Grad string }
	Y, DY    string
	Running  map[string]string `json:"running_after"`
	Ops      map[string]int
}

func opCases(t *testing.T) (root string, cases []opCase) {
	t.Helper()
	root = testkit.Shared(t, "golden", "networks", "ops")
	var index struct{ Cases []opCase }
	readJSON(t, filepath.Join(root, "ops.json"), &index)
	return root, index.Cases
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(raw, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func parseModel(t testing.TB, path string) *onnx.Model {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := onnx.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func int64s(shape []int) []int64 {
	out := []int64{}
	for _, s := range shape {
		out = append(out, int64(s))
	}
	return out
}

// relative returns |a - b| / |b| (L2), or |a - b| where b is 0.
func relative(a []float32, b []float64) float64 {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	var diff, norm float64
	for i := range a {
		d := float64(a[i]) - b[i]
		diff += d * d
		norm += b[i] * b[i]
	}
	if norm == 0 {
		return math.Sqrt(diff)
	}
	return math.Sqrt(diff / norm)
}

// probe is a graph under test with the values to feed it.
type probe struct {
	g     *graph
	model *onnx.Model
	in    []ort.Tensor
	names []string // outputs in order
}

func newProbe(g *graph) *probe { return &probe{g: g, model: onnx.NewModel(g.opset)} }

func (p *probe) feed(name string, shape []int64, data []float32) {
	if len(shape) == 0 {
		shape = []int64{1}
	}
	p.model.AddInput(name, onnx.Float32, shape...)
	p.in = append(p.in, ort.Tensor{Shape: shape, Data: data})
}

func (p *probe) fetch(key, value string) {
	if p.g.err != nil {
		return
	}
	p.g.place(value)
	p.model.AddNode("Identity", []string{value}, []string{"out." + key})
	p.model.AddOutput("out."+key, onnx.Float32, p.g.shape(value)...)
	p.names = append(p.names, key)
}

// run returns the fetched values by key.
func (p *probe) run(t *testing.T) map[string][]float32 {
	t.Helper()
	if p.g.err != nil {
		t.Fatal(p.g.err)
	}
	for _, l := range p.g.masks {
		p.model.AddInput(l.Input, onnx.Uint8, l.Shape...)
		mask := make([]uint8, l.Len())
		dropout.Fill(mask, 0, dropout.Key{Node: l.Node}, l.Ratio)
		p.in = append(p.in, ort.Tensor{Shape: l.Shape, Bytes: mask})
	}
	p.model.Graph.Nodes = append(slices.Clone(p.g.nodes), p.model.Graph.Nodes...)
	p.model.Graph.Initializers = p.g.inits
	if err := p.model.Graph.Sort(); err != nil {
		t.Fatal(err)
	}
	s, err := orttest.Runtime(t).NewSession(pruned(p.model).Bytes(), ort.SessionOptions{Device: ort.CPU, Threads: 1, ByteInputs: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var out []ort.Tensor
	result := map[string][]float32{}
	for i, o := range s.Outputs() {
		data := make([]float32, size(o.Shape))
		out = append(out, ort.Tensor{Shape: o.Shape, Data: data})
		result[p.names[i]] = data
	}
	if err := s.Run(t.Context(), p.in, out); err != nil {
		t.Fatal(err)
	}
	return result
}

// check compiles one case, runs it and returns the errors by name.
func (oc opCase) check(t *testing.T, root string) map[string]float64 {
	t.Helper()
	m := parseModel(t, filepath.Join(root, oc.Name, "model.onnx"))
	n, err := readNetwork(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	g := newGraph(max(m.Opset(""), stepOpset), n.model.Graph.Names())
	g.batchStatistics = oc.Training
	p := newProbe(g)
	shapes := map[string][]int64{}
	for i, x := range oc.X {
		a := testkit.ReadNPY(t, filepath.Join(root, x))
		name := n.model.Graph.Inputs[i].Name
		shapes[name] = int64s(a.Shape)
		g.needs[name] = true
		p.feed(name, shapes[name], a.F32(t))
	}
	for _, list := range [][]*onnx.Tensor{n.parameters, n.statistics} {
		for _, q := range list {
			v, err := q.Float32()
			if err != nil {
				t.Fatal(err)
			}
			p.feed(q.Name, q.Dims, v)
		}
	}
	if !oc.Training { // they are constants then, and no inputs
		p.in = p.in[:len(p.in)-len(n.statistics)]
		p.model.Graph.Inputs = p.model.Graph.Inputs[:len(p.in)]
	}
	n.load(g, shapes)
	if g.err != nil {
		t.Fatal(g.err)
	}
	dy := testkit.ReadNPY(t, filepath.Join(root, oc.DY))
	g.info["test.dy"] = floats(int64s(dy.Shape))
	p.feed("test.dy", int64s(dy.Shape), dy.F32(t))
	y := g.value(n.model.Graph.Outputs[0].Name)
	if got := g.shape(y); !slices.Equal(got, int64s(dy.Shape)) {
		t.Fatalf("result has shape %v instead of %v", got, dy.Shape)
	}
	g.backward(y, "test.dy")
	want := map[string]string{"y": oc.Y}
	p.fetch("y", y)
	expect := func(key, value, file string) {
		if value == "" {
			t.Fatalf("there is no %s", key)
		}
		p.fetch(key, value)
		want[key] = file
	}
	for i, file := range oc.DX {
		expect(fmt.Sprint("dx", i), g.gradient(n.model.Graph.Inputs[i].Name), file)
	}
	for _, q := range oc.Params {
		expect("d "+q.Onnx, g.gradient(q.Onnx), q.Grad)
	}
	for _, s := range g.stats {
		expect(s.name, s.value, oc.Running[s.name])
	}
	if len(g.stats) != len(oc.Running) {
		t.Fatalf("%d running statistics instead of %d", len(g.stats), len(oc.Running))
	}
	errs := map[string]float64{}
	for key, got := range p.run(t) {
		errs[key] = relative(got, testkit.ReadNPY(t, filepath.Join(root, want[key])).F64(t))
	}
	return errs
}

// TestOperators compares every one-operator golden: result, gradient of every
// input, gradient of every parameter, running statistics.
func TestOperators(t *testing.T) {
	root, cases := opCases(t)
	if len(cases) != 121 {
		t.Fatalf("%d cases instead of 121", len(cases))
	}
	var table strings.Builder
	values, passed, worst := 0, 0, 0.0
	for _, oc := range cases {
		t.Run(oc.Name, func(t *testing.T) {
			var y, dx, dp float64
			for key, e := range oc.check(t, root) {
				values++
				if !(e <= opTolerance) {
					t.Errorf("%s is off by %.2g, more than %g", key, e, opTolerance)
				}
				switch {
				case key == "y":
					y = e
				case strings.HasPrefix(key, "dx"):
					dx = max(dx, e)
				default:
					dp = max(dp, e)
				}
				worst = max(worst, e)
			}
			fmt.Fprintf(&table, "%-32s %8.1e %8.1e %8.1e\n", oc.Name, y, dx, dp)
			if !t.Failed() {
				passed++
			}
		})
	}
	t.Logf("relative L2 error against float64 PyTorch\n%-32s %8s %8s %8s\n%s%d of %d cases pass, %d arrays, worst %.1e, none skipped",
		"case", "y", "dx", "dparams", table.String(), passed, len(cases), values, worst)
}
