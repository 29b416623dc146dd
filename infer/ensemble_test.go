package infer

import (
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/ort/orttest"
	"github.com/voxloop/voxloop/internal/testkit"
)

// scaled returns a network whose convolutions' weights are changed: multiplied,
// and moved a little.
func scaled(t testing.TB, m *onnx.Model, by float32) *onnx.Model {
	t.Helper()
	m = m.Clone()
	changed := 0
	for _, n := range m.Graph.Nodes {
		if !n.Is("Conv") {
			continue
		}
		w := m.Graph.Initializer(n.Input(1))
		if w == nil {
			continue
		}
		v, err := w.Float32()
		if err != nil {
			t.Fatal(err)
		}
		for i := range v {
			v[i] = v[i]*by + float32(math.Sin(float64(i)))/50
		}
		next := *w
		next.SetFloat32(v)
		m.Graph.SetInitializer(&next)
		changed++
	}
	if changed == 0 {
		t.Fatal("no weight was changed")
	}
	return m
}

// folder makes a model folder and returns it as a file system.
func folder(t testing.TB, manifest string, m *onnx.Model) fs.FS {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, ManifestFile), []byte(manifest))
	write(t, filepath.Join(dir, NetworkFile), m.Bytes())
	return os.DirFS(dir)
}

func runNetwork(t testing.TB, m *onnx.Model, shape []int64, x []float32, channels int) []float32 {
	t.Helper()
	s, err := orttest.Runtime(t).NewSession(m.Bytes(), ort.SessionOptions{Device: ort.CPU})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var out []ort.Tensor
	for range s.Outputs() {
		o := slices.Clone(shape)
		o[1] = int64(channels)
		out = append(out, ort.Tensor{Shape: o, Data: make([]float32, product(o))})
	}
	if err := s.Run(t.Context(), []ort.Tensor{{Shape: shape, Data: x}}, out); err != nil {
		t.Fatal(err)
	}
	return out[0].Data
}

// An ensemble's scores are the mean of its members'; its file holds equal
// constants once; members are compared by Measure.
func TestEnsemble(t *testing.T) {
	manifest, dir, in := goldenDropout(t)
	manifest = "# a comment\nname: net\nprovenance: {data: none}\n" + manifest
	a := parse(t, filepath.Join(dir, NetworkFile))
	b, c := scaled(t, a, 0.9), scaled(t, a, 1.1)
	var members []fs.FS
	for i, m := range []*onnx.Model{a, b, c} {
		members = append(members, folder(t, strings.Replace(manifest, "data: none", "data: "+string(rune('a'+i)), 1), m))
	}
	files, err := Ensemble([]string{"one", "two", "three"}, members)
	if err != nil {
		t.Fatal(err)
	}
	if names := slices.Sorted(maps.Keys(files)); !slices.Equal(names, []string{ManifestFile, NetworkFile}) {
		t.Errorf("files %q", names)
	}
	if text := string(files[ManifestFile]); !strings.Contains(text, "# a comment") || !strings.Contains(text, "member 1: two, version") || strings.Contains(text, "data:") {
		t.Errorf("the manifest: %s", text)
	}
	merged, err := onnx.Parse(files[NetworkFile])
	if err != nil {
		t.Fatal(err)
	}
	if len(merged.Outputs()) != 4 || len(merged.Inputs()) != 1 {
		t.Errorf("outputs %v, inputs %v", merged.Outputs(), merged.Inputs())
	}
	whole, all := merged.Features().Parameters, a.Features().Parameters
	if !(whole > 2*all && whole < 3*all) {
		t.Errorf("%d parameters, of one member %d: nothing is shared", whole, all)
	}
	x := testkit.ReadNPY(t, filepath.Join(dir, "forward0_x.npy"))
	shape := []int64{1, 1, 16, 24, 16}
	var want []float32
	for _, m := range []*onnx.Model{a, b, c} {
		y := runNetwork(t, m, shape, x.F32(t), 3)
		if want == nil {
			want = make([]float32, len(y))
		}
		for i, v := range y {
			want[i] += v / 3
		}
	}
	got := runNetwork(t, merged, shape, x.F32(t), 3)
	if d := difference(got, want); d > 1e-5 {
		t.Errorf("the ensemble's scores are %g off the mean", d)
	}
	served := t.TempDir()
	for name, data := range files {
		write(t, filepath.Join(served, name), data)
	}
	checkEnsemble(t, served, manifest, []*onnx.Model{a, b, c}, want, in)
}

// checkEnsemble serves an ensemble beside its members.
func checkEnsemble(t *testing.T, dir, manifest string, members []*onnx.Model, scores []float32, in Input) {
	t.Helper()
	before := ort.OpenSessions()
	r := registry(t, "cpu")
	if err := r.Add("m", dir); err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(t.Context(), "m"); err != nil {
		t.Fatal(err)
	}
	out, err := r.Infer(t.Context(), "m", in, Options{})
	if err != nil {
		t.Fatal(err)
	}
	size := out.Labels.Size
	wantArgmax(t, out.Labels, 3, func(c, x, y, z int) float64 { return float64(scores[((c*size[0]+x)*size[1]+y)*size[2]+z]) })
	if n := ort.OpenSessions() - before; n != 1 {
		t.Errorf("%d sessions serve an ensemble that nobody measures", n)
	}
	m := measure(t, r, in, Sampling{Members: true, Features: true})
	mean := make([][]float32, 3)
	var entropy []float64
	var features []float32
	for i, g := range members {
		one := serveModel(t, manifest, g)
		p := measure(t, one, in, Sampling{Features: i == 0})
		if i == 0 {
			features = p.Features
		}
		for c := range mean {
			if i == 0 {
				mean[c] = make([]float32, len(p.Maps.Labels))
				entropy = make([]float64, len(p.Maps.Labels))
			}
			for v, x := range p.Maps.Mean[c] {
				mean[c][v] += x / float32(len(members))
			}
		}
		for v, h := range p.Maps.Entropy {
			entropy[v] += float64(h) / float64(len(members))
		}
	}
	for c := range mean {
		if d := testkit.MaxDiff(t, m.Maps.Mean[c], mean[c]); d > 1e-4 {
			t.Errorf("class %d: the mean is %g off the members'", c, d)
		}
	}
	largest := 0.0
	for v, h := range m.Maps.Entropy {
		bald := float64(h) - entropy[v]
		largest = max(largest, bald)
		if math.Abs(bald-float64(m.Maps.Information[v])) > 1e-3 {
			t.Fatalf("voxel %d: mutual information %g, want %g", v, m.Maps.Information[v], bald)
		}
	}
	if largest < 0.01 || m.Maps.Passes != len(members) {
		t.Errorf("%d passes, mutual information up to %g", m.Maps.Passes, largest)
	}
	if len(features) == 0 || difference(m.Features, features) > 1e-4 {
		t.Errorf("%d features, the first member has %d", len(m.Features), len(features))
	}
}

// An ensemble has probabilities where its members end with their activation,
// and refuses members that do not belong together.
func TestEnsembleMembers(t *testing.T) {
	manifest := "inputs: [{source: image}]\nwindow: {size: image}\noutputs: [{activation: softmax, index: 1}]\nlabels:\n" + labelsYAML(3)
	net := func(by float32, ends bool) *onnx.Model {
		m := scaled(t, lopsided(3, 0, 1, 2), by)
		m.Graph.Nodes[0].Outputs[0] = "scores"
		op := "Identity"
		if ends {
			op = "Softmax"
		}
		n := m.AddNode(op, []string{"scores"}, []string{"y"})
		if ends {
			n.SetAttr(onnx.IntAttr("axis", 1))
		}
		m.AddOutput("training", onnx.Float32, -1, 3, -1, -1, -1)
		m.AddNode("Relu", []string{"scores"}, []string{"training"})
		m.Graph.Outputs[0], m.Graph.Outputs[1] = m.Graph.Outputs[1], m.Graph.Outputs[0]
		return m
	}
	make2 := func(m1, m2 string, a, b *onnx.Model) (map[string][]byte, error) {
		return Ensemble([]string{"a", "b"}, []fs.FS{folder(t, m1, a), folder(t, m2, b)})
	}
	none := strings.Replace(manifest, "activation: softmax", "activation: none, decision: argmax", 1)
	files, err := make2(none, none, net(1, true), net(2, true))
	if err != nil {
		t.Fatal(err)
	}
	g, err := onnx.Parse(files[NetworkFile])
	if err != nil {
		t.Fatal(err)
	}
	if n := g.Features().Ops["Relu"]; n != 0 || len(g.Outputs()) != 3 {
		t.Errorf("%d nodes of heads for training came along, outputs %v", n, g.Outputs())
	}
	dir := t.TempDir()
	for name, data := range files {
		write(t, filepath.Join(dir, name), data)
	}
	r := registry(t, "cpu")
	if err := r.Add("m", dir); err != nil {
		t.Fatal(err)
	}
	in := Input{Volumes: []*imaging.Volume{volumeOf(1, [3]int{5, 4, 3}, func(_, x, y, z int) float32 { return float32(math.Sin(float64(x + 2*y - z*z))) })}}
	plain, members := measure(t, r, in, Sampling{}), measure(t, r, in, Sampling{Members: true})
	if d := testkit.MaxDiff(t, plain.Maps.Mean[2], members.Maps.Mean[2]); d > 1e-6 {
		t.Errorf("the mean of probabilities is %g off", d)
	}
	for name, c := range map[string]struct {
		m1, m2 string
		a, b   *onnx.Model
		says   string
	}{
		"another window": {manifest, strings.Replace(manifest, "size: image", "size: [8, 8, 8]", 1), net(1, false), net(2, false), "window"},
		"the same":       {manifest, manifest, net(1, false), net(1, false), "again"},
		"activation":     {none, none, net(1, true), net(2, false), "Softmax"},
		"an ensemble":    {manifest, manifest, net(1, false), nil, "itself"},
		"operator set":   {manifest, manifest, net(1, false), &onnx.Model{}, "operator sets"},
	} {
		b := c.b
		m2 := c.m2
		switch {
		case b == nil:
			ensemble, err := make2(manifest, manifest, net(1, false), net(2, false))
			if err != nil {
				t.Fatal(err)
			}
			m2 = string(ensemble[ManifestFile])
			if b, err = onnx.Parse(ensemble[NetworkFile]); err != nil {
				t.Fatal(err)
			}
		case b.Graph == nil:
			b = net(2, false)
			b.Opsets[0].Version = 16
		}
		if _, err := make2(c.m1, m2, c.a, b); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Ensemble([]string{"a"}, []fs.FS{folder(t, manifest, net(1, false))}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("one member: %v", err)
	}
}
