package trainers

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/ort/orttest"
)

// ballSize is the side of the fake's images in voxels.
const ballSize = 12

// balls is a Data without files: images of a bright ball (class 2) in a grey
// shell (class 1) in noise, one per case. Score runs the network on whole
// images.
type balls struct {
	t       testing.TB
	network *onnx.Model
	broken  map[string]error // what Load says about a case
	empty   map[string]bool  // cases without foreground

	mark func(n int) float64 // what the n-th network that is scored is worth, from 1; nil: what it is worth

	mu     sync.Mutex
	judged int
	scored int
	onCase func(n int) // called before the n-th case is scored, from 1
}

func (d *balls) Spec() Spec {
	return Spec{
		Version: "parent", Network: d.network, Channels: 1, Window: [3]int{ballSize, ballSize, ballSize}, Dimension: 3,
		Classes: []Class{{1, "shell", 1}, {2, "ball", 2}}, Outputs: 3,
	}
}

func (d *balls) Load(_ context.Context, c Case) (*Sample, error) {
	if err := d.broken[c.ID]; err != nil {
		return nil, err
	}
	s := ball(c.ID)
	if d.empty[c.ID] {
		clear(s.Labels)
	}
	return s, nil
}

func ball(id string) *Sample {
	n, err := strconv.Atoi(id)
	if err != nil {
		panic(err)
	}
	g := rand.New(rand.NewPCG(uint64(n), 1))
	s := &Sample{ID: id, Channels: 1, Size: [3]int{ballSize, ballSize, ballSize}, Spacing: [3]float64{1, 1, 1}}
	at := [3]float64{4 + 3*g.Float64(), 4 + 3*g.Float64(), 4 + 3*g.Float64()}
	for x := range ballSize {
		for y := range ballSize {
			for z := range ballSize {
				r := math.Hypot(math.Hypot(float64(x)-at[0], float64(y)-at[1]), float64(z)-at[2])
				label, value := uint16(0), -0.5
				switch {
				case r < 2.5:
					label, value = 2, 2.5
				case r < 4:
					label, value = 1, 0.8
				}
				s.Labels = append(s.Labels, label)
				s.Image = append(s.Image, float32(value+0.1*g.NormFloat64()))
			}
		}
	}
	return s
}

func (d *balls) Score(ctx context.Context, network *onnx.Model, cases []Case, each func(Score)) error {
	d.mu.Lock()
	d.judged++
	n := d.judged
	d.mu.Unlock()
	if d.mark != nil {
		for _, c := range cases {
			each(Score{ID: c.ID, Dice: map[string]float64{"ball": d.mark(n)}})
		}
		return nil
	}
	session, err := orttest.Runtime(d.t).NewSession(network.Bytes(), ort.SessionOptions{Device: ort.CPU, Threads: 1})
	if err != nil {
		return err
	}
	defer func() { _ = session.Close() }()
	for _, c := range cases {
		d.mu.Lock()
		d.scored++
		n, hook := d.scored, d.onCase
		d.mu.Unlock()
		if hook != nil {
			hook(n)
		}
		s := ball(c.ID)
		voxels := len(s.Labels)
		y := make([]float32, 3*voxels)
		err := session.Run(ctx, []ort.Tensor{{Shape: []int64{1, 1, ballSize, ballSize, ballSize}, Data: s.Image}},
			[]ort.Tensor{{Shape: []int64{1, 3, ballSize, ballSize, ballSize}, Data: y}})
		if err != nil {
			return err
		}
		each(Score{ID: c.ID, Dice: diceOf(y, s.Labels)})
	}
	return nil
}

func diceOf(scores []float32, labels []uint16) map[string]float64 {
	n := len(labels)
	var both, sum [3]float64
	for i, l := range labels {
		best := 0
		for c := range 3 {
			if scores[c*n+i] > scores[best*n+i] {
				best = c
			}
		}
		sum[best]++
		sum[l]++
		if best == int(l) {
			both[l]++
		}
	}
	return map[string]float64{"shell": 2 * both[1] / sum[1], "ball": 2 * both[2] / sum[2]}
}

func (d *balls) Close() error { return nil }

// tinyNetwork is three convolutions around an instance normalisation, with
// weights that know nothing.
func tinyNetwork() *onnx.Model {
	m := onnx.NewModel(17)
	m.AddInput("x", onnx.Float32, -1, 1, -1, -1, -1)
	m.AddOutput("y", onnx.Float32, -1, 3, -1, -1, -1)
	weights := func(name string, dims ...int64) {
		n := int64(1)
		for _, d := range dims {
			n *= d
		}
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(math.Sin(float64(7*i+len(name)))) / 5
		}
		m.AddInitializer(onnx.NewFloat32(name, dims, v))
	}
	weights("first.weight", 6, 1, 3, 3, 3)
	weights("first.bias", 6)
	weights("norm.weight", 6)
	weights("norm.bias", 6)
	weights("middle.weight", 6, 6, 1, 1, 1)
	weights("middle.bias", 6)
	weights("last.weight", 3, 6, 1, 1, 1)
	weights("last.bias", 3)
	m.AddNode("Conv", []string{"x", "first.weight", "first.bias"}, []string{"a"}, onnx.IntsAttr("pads", 1, 1, 1, 1, 1, 1))
	m.AddNode("InstanceNormalization", []string{"a", "norm.weight", "norm.bias"}, []string{"b"})
	m.AddNode("Relu", []string{"b"}, []string{"c"})
	m.AddNode("Conv", []string{"c", "middle.weight", "middle.bias"}, []string{"d"})
	m.AddNode("Relu", []string{"d"}, []string{"e"})
	m.AddNode("Conv", []string{"e", "last.weight", "last.bias"}, []string{"y"})
	return m
}

const tinyManifest = `# a comment that stays
name: tiny
version: "1"
provenance: {author: somebody, network: small, parent_author: nobody}
window: {size: [12, 12, 12]}
`

// ballRequest is a training on cases 1 to n, the last of which validate, in a
// new folder.
func ballRequest(t *testing.T, n, validate int) Request {
	t.Helper()
	dir := t.TempDir()
	model := filepath.Join(dir, "model")
	write := func(name string, data []byte) {
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(model, "model.onnx"), tinyNetwork().Bytes())
	write(filepath.Join(model, "manifest.yaml"), []byte(tinyManifest))
	write(filepath.Join(model, "README.md"), []byte("of the parent"))
	r := Request{Protocol: ProtocolVersion, Model: model, Out: filepath.Join(dir, "out"), Work: filepath.Join(dir, "work"), Threads: 1}
	for i := 1; i <= n; i++ {
		id := strconv.Itoa(i)
		image := filepath.Join(dir, "images", id+".nii")
		label := filepath.Join(dir, "labels", id+".nii")
		write(image, []byte("image "+id))
		write(label, []byte("label "+id))
		c := Case{ID: id, Images: []string{image}, Label: label, Role: Train}
		if i > n-validate {
			c.Role = Validate
		}
		r.Cases = append(r.Cases, c)
	}
	r.Config = Config{
		Seed: 3, Steps: 100, StepsPerEpoch: 10, ValidateEvery: 4, Batch: 2, Augment: AugmentNone, Workers: 1,
		Optimizer: OptimizerConfig{Rate: 0.05}, Schedule: ScheduleConfig{WarmUp: -1},
	}
	return r
}

// newTrainer is a Native over a fake.
func newTrainer(t *testing.T, d *balls) *Native {
	t.Helper()
	d.t = t
	if d.network == nil {
		d.network = tinyNetwork()
	}
	rt := orttest.Runtime(t)
	return NewNative(NativeOptions{
		Runtime:  func(context.Context) (*ort.Runtime, error) { return rt, nil },
		OpenData: func(context.Context, Request) (Data, error) { return d, nil },
	})
}

// collect returns a report function and what it got.
func collect() (func(Event), *[]Event) {
	var list []Event
	return func(e Event) { list = append(list, e) }, &list
}

func ofKind(list []Event, k EventKind) (out []Event) {
	for _, e := range list {
		if e.Kind == k {
			out = append(out, e)
		}
	}
	return out
}

func messages(list []Event) (out []string) {
	for _, e := range ofKind(list, Warned) {
		out = append(out, e.Message)
	}
	return out
}

func readModel(t *testing.T, dir string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	slices.Sort(out)
	return out
}
