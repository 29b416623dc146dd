package infer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/testkit"
)

// goldenDropout is the golden network with dropout: its manifest, its recorded
// image, and the folder of PyTorch's statistics.
func goldenDropout(t testing.TB) (manifest, dir string, in Input) {
	t.Helper()
	dir = testkit.Shared(t, "golden", "networks", "unet_res2_prelu")
	x := testkit.ReadNPY(t, filepath.Join(dir, "forward0_x.npy"))
	xs, size := x.F32(t), [3]int(x.Shape[2:])
	manifest = fmt.Sprintf("inputs: [{source: image}]\nwindow: {size: [%d, %d, %d]}\noutputs: [{activation: softmax}]\nlabels:\n", size[0], size[1], size[2]) + labelsYAML(3)
	v := volumeOf(1, size, func(_, a, b, c int) float32 { return xs[(a*size[1]+b)*size[2]+c] })
	return manifest, dir, Input{Volumes: []*imaging.Volume{v}}
}

func measure(t testing.TB, r *Registry, in Input, s Sampling) *Measured {
	t.Helper()
	m, err := r.Measure(t.Context(), "m", in, Options{}, s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Monte-Carlo statistics are PyTorch's within the sampling error, for both
// exported forms of dropout; with a window of the image's size and with the
// whole image in one window.
func TestMonteCarloGolden(t *testing.T) {
	manifest, dir, in := goldenDropout(t)
	read := func(f string) []float64 { return testkit.ReadNPY(t, filepath.Join(dir, f)).F64(t) }
	mean, sd, bald := read("dropout_mc_mean.npy"), read("dropout_mc_std.npy"), read("dropout_mc_bald.npy")
	const passes, reference = 64, 200
	var first *Measured
	for _, c := range []struct{ file, manifest string }{
		{"model_dropout_switch.onnx", manifest},
		{"model_dropout_random.onnx", manifest + "network: {dropout: 0.2}\n"},
		{"model_dropout_switch.onnx", strings.Replace(manifest, "size: [16, 24, 16]", "size: image, multiple: 8", 1)},
	} {
		r := serve(t, "cpu", c.manifest, filepath.Join(dir, c.file))
		m := measure(t, r, in, Sampling{Dropout: passes, Seed: 5})
		var z, got, want float64
		for k := range m.Maps.Mean {
			for v, p := range m.Maps.Mean[k] {
				i := k*len(bald) + v
				d := (float64(p) - mean[i]) / (sd[i]*math.Sqrt(1.0/passes+1.0/reference) + 1e-6)
				z += d * d / float64(len(mean))
			}
		}
		for v, i := range m.Maps.Information {
			got, want = got+float64(i)/float64(len(bald)), want+bald[v]/float64(len(bald))
		}
		z = math.Sqrt(z)
		t.Logf("%s: z_rms of the mean %.3f; mutual information %.4f, PyTorch's %.4f", c.file, z, got, want)
		if !(z > 0.7 && z < 1.3) {
			t.Errorf("%s: the mean is %.2f standard errors off PyTorch's (root mean square), want about 1", c.file, z)
		}
		if !(math.Abs(got/want-1) < 0.05) {
			t.Errorf("%s: mutual information %.4f, PyTorch's %.4f", c.file, got, want)
		}
		if first == nil {
			first = m
		} else if d := testkit.MaxDiff(t, m.Maps.Mean[1], first.Maps.Mean[1]); d > 1e-4 {
			t.Errorf("%s: the same masks give another mean: %g", c.file, d)
		}
	}
}

// The same seed gives the same maps, bit for bit; another seed others.
func TestSeeds(t *testing.T) {
	manifest, dir, in := goldenDropout(t)
	manifest = strings.Replace(manifest, "size: [16, 24, 16]", "size: [8, 16, 16]", 1)
	s := Sampling{Dropout: 3, Seed: 1}
	a := measure(t, serve(t, "cpu", manifest, filepath.Join(dir, "model_dropout_switch.onnx")), in, s)
	r := serve(t, "cpu", manifest, filepath.Join(dir, "model_dropout_switch.onnx"))
	other := measure(t, r, in, Sampling{Dropout: 3, Seed: 2})
	b := measure(t, r, in, s)
	if !slices.Equal(a.Maps.Entropy, b.Maps.Entropy) || !slices.Equal(a.Maps.Information, b.Maps.Information) || !slices.Equal(a.Labels.Data, b.Labels.Data) {
		t.Error("the same seed gives other maps")
	}
	if slices.Equal(a.Maps.Information, other.Maps.Information) {
		t.Error("another seed gives the same maps")
	}
	if a.Maps.Passes != 3 || a.Windows != 3*windowsOf(t, r, in) {
		t.Errorf("%d passes, %d windows", a.Maps.Passes, a.Windows)
	}
	if slices.Max(b.Maps.Information) < 0.01 {
		t.Error("all passes have the same masks")
	}
}

// Windows of the same content get masks of their own.
func TestMasksOfWindows(t *testing.T) {
	manifest, dir, _ := goldenDropout(t)
	manifest = strings.Replace(manifest, "size: [16, 24, 16]", "size: [8, 8, 8], overlap: 0", 1)
	r := serve(t, "cpu", manifest, filepath.Join(dir, "model_dropout_switch.onnx"))
	twice := Input{Volumes: []*imaging.Volume{volumeOf(1, [3]int{16, 8, 8}, func(_, x, y, z int) float32 {
		return float32(math.Sin(float64(x%8*5 + y*y + 3*z)))
	})}}
	for dropped, s := range map[bool]Sampling{false: {}, true: {Dropout: 1}} {
		m := measure(t, r, twice, s)
		half := len(m.Maps.Entropy) / 2
		if same := slices.Equal(m.Maps.Entropy[:half], m.Maps.Entropy[half:]); same == dropped {
			t.Errorf("dropped %v: the windows are the same %v", dropped, same)
		}
	}
}

func windowsOf(t testing.TB, r *Registry, in Input) int {
	t.Helper()
	out, err := r.Infer(t.Context(), "m", in, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return out.Windows
}

// Inference drops nothing, also where a network was exported in training mode.
func TestInferDropsNothing(t *testing.T) {
	manifest, dir, in := goldenDropout(t)
	off := testkit.ReadNPY(t, filepath.Join(dir, "dropout_off_y.npy")).F64(t)
	for file, on := range map[string]*onnx.Tensor{
		"model_dropout_switch.onnx": {Name: "mc_dropout", Type: onnx.Bool, Dims: []int64{1}, Raw: []byte{1}},
		"model_dropout_random.onnx": onnx.NewFloat32("dropout_p", []int64{1}, []float32{0.2}),
	} {
		m := parse(t, filepath.Join(dir, file))
		if m.Graph.Initializer(on.Name) == nil {
			t.Fatalf("%s has no default for %s", file, on.Name)
		}
		m.Graph.SetInitializer(on)
		path := filepath.Join(t.TempDir(), NetworkFile)
		write(t, path, m.Bytes())
		r := serve(t, "cpu", manifest, path)
		got := measure(t, r, in, Sampling{})
		out, err := r.Infer(t.Context(), "m", in, Options{})
		if err != nil {
			t.Fatal(err)
		}
		n := len(out.Labels.Data)
		size := out.Labels.Size
		wantArgmax(t, out.Labels, 3, func(c, a, b, d int) float64 { return off[c*n+(a*size[1]+b)*size[2]+d] })
		for _, m := range got.Maps.Information {
			if m > 1e-6 {
				t.Fatalf("%s: one pass has mutual information %g", file, m)
			}
		}
		if mc := measure(t, r, in, Sampling{Dropout: 4}); slices.Max(mc.Maps.Information) < 0.01 {
			t.Errorf("%s: Monte-Carlo passes agree", file)
		}
	}
}

func parse(t testing.TB, path string) *onnx.Model {
	t.Helper()
	m, err := onnx.Parse(read(t, path))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// lopsided is a network of one convolution whose kernel has no symmetry.
func lopsided(outputs int, axes ...int64) *onnx.Model {
	m := onnx.NewModel(17)
	in, out := []int64{-1, 1}, []int64{-1, int64(outputs)}
	kernel := []int64{int64(outputs), 1}
	var pads []int64
	for range axes {
		in, out, kernel = append(in, -1), append(out, -1), append(kernel, 3)
		pads = append(pads, 1)
	}
	m.AddInput("x", onnx.Float32, in...)
	m.AddOutput("y", onnx.Float32, out...)
	w := onnx.NewFloat32("w", kernel, make([]float32, product(kernel)))
	v := make([]float32, product(kernel))
	for i := range v {
		v[i] = float32(math.Sin(float64(3*i*i + 1)))
	}
	w.SetFloat32(v)
	m.AddInitializer(w)
	m.AddNode("Conv", []string{"x", "w"}, []string{"y"}, onnx.IntsAttr("pads", append(pads, pads...)...))
	return m
}

func product(d []int64) int {
	n := int64(1)
	for _, x := range d {
		n *= x
	}
	return int(n)
}

func serveModel(t testing.TB, manifest string, m *onnx.Model) *Registry {
	t.Helper()
	path := filepath.Join(t.TempDir(), NetworkFile)
	write(t, path, m.Bytes())
	return serve(t, "cpu", manifest, path)
}

// A pass with a mirrored window is the plain pass of the mirrored image,
// mirrored back; axes are named the same in every order of the array. The
// window has the image's size, so that it is mirrored as a whole.
func TestMirrored(t *testing.T) {
	size := [3]int{6, 5, 4}
	image := func(by string) Input {
		return Input{Volumes: []*imaging.Volume{volumeOf(1, size, func(_, x, y, z int) float32 {
			at := [3]int{x, y, z}
			for _, a := range by {
				at[a-'x'] = size[a-'x'] - 1 - at[a-'x']
			}
			return float32(math.Sin(float64(at[0]*at[0]+3*at[1]+at[2]*at[1]*7) + 2))
		})}}
	}
	for _, c := range []struct {
		manifest string
		model    *onnx.Model
		flips    []string
		order    [3]int // grid axis by array axis
		all      int    // mirrorings
	}{
		{"network: {axes: xyz}\nwindow: {size: [6, 5, 4]}\n", lopsided(3, 0, 1, 2), []string{"x", "y", "z", "xz"}, [3]int{0, 1, 2}, 8},
		{"network: {axes: zyx}\nwindow: {size: image}\n", lopsided(3, 0, 1, 2), []string{"x", "yz"}, [3]int{2, 1, 0}, 8},
		{"dimension: 2\nnetwork: {slice_axis: y}\nwindow: {size: [6, 4], batch: 2}\n", lopsided(3, 0, 1), []string{"x", "z"}, [3]int{1, 0, 2}, 4},
	} {
		r := serveModel(t, c.manifest+"inputs: [{source: image}]\noutputs: [{activation: softmax}]\nlabels:\n"+labelsYAML(3), c.model)
		plain := measure(t, r, image(""), Sampling{})
		for _, by := range c.flips {
			got, want := measure(t, r, image(""), Sampling{Flips: []string{by}}), measure(t, r, image(by), Sampling{})
			var mirrored [3]bool
			for i, a := range c.order {
				mirrored[i] = strings.ContainsRune(by, rune('x'+a))
			}
			for k, p := range want.Maps.Mean {
				mirror(p, want.Size, mirrored)
				if d := testkit.MaxDiff(t, got.Maps.Mean[k], p); d > 1e-6 {
					t.Errorf("%q, mirrored by %s: class %d differs by %g", c.manifest, by, k, d)
				}
				if d := testkit.MaxDiff(t, got.Maps.Mean[k], plain.Maps.Mean[k]); d < 0.1 {
					t.Errorf("%q, mirrored by %s: nothing changes", c.manifest, by)
				}
			}
		}
		all := measure(t, r, image(""), Sampling{Flips: []string{AllMirrorings}})
		if names, err := r.Mirrorings("m"); err != nil || len(names) != all.Maps.Passes || names[0] != "" || len(names) != c.all {
			t.Errorf("%q: %d passes, %q, %v", c.manifest, all.Maps.Passes, names, err)
		}
	}
}

// With overlapping windows on another grid than the image's, a single plain
// pass gives the labels of inference, and the map lies where the image does.
func TestMeasuredLikeInferred(t *testing.T) {
	r := serve(t, "cpu", strings.Replace(hippocampusManifest, "spacing: native", "spacing: [1.3, 1.1, 1.2]\ncrop: {above: 0, margin: 2}", 1),
		testkit.Shared(t, "models", "hippocampus", NetworkFile))
	in := Input{Volumes: []*imaging.Volume{volume(t, testkit.Shared(t, "data", "hippocampus", "images", "hippocampus_003.nii.gz"))}}
	out, err := r.Infer(t.Context(), "m", in, Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := measure(t, r, in, Sampling{Flips: []string{"", "y"}, Map: MapEntropy, Features: true})
	one := measure(t, r, in, Sampling{Features: true})
	if n := differing(t, one.Labels, out.Labels); n > 1 { // equal probabilities of unequal scores
		t.Errorf("%d voxels have another label than inferred", n)
	}
	if n := differing(t, m.Labels, out.Labels); n > len(out.Labels.Data)/50 {
		t.Errorf("mirrored, %d voxels have another label", n)
	}
	if m.Map.Size != out.Labels.Size || m.Map.Distance(out.Labels.Grid) > 0 {
		t.Errorf("the map has the grid %v", m.Map.Grid)
	}
	// The map at a voxel of the image is the array's, interpolated where ToImage's
	// inverse says.
	toArray, _ := m.ToImage.Inverse()
	values := m.Map.Data.(imaging.Samples[float32])
	checked, high := 0, float32(0)
	for i, got := range values {
		q := toArray.Apply([3]float64{float64(i % m.Map.Size[0]), float64(i / m.Map.Size[0] % m.Map.Size[1]), float64(i / (m.Map.Size[0] * m.Map.Size[1]))})
		want, ok := trilinear(m.Maps.Entropy, m.Size, q)
		if !ok {
			continue
		}
		checked++
		high = max(high, got)
		if math.Abs(want-float64(got)) > 1e-4 {
			t.Fatalf("voxel %d of the image, %v of the array: %g, want %g", i, q, got, want)
		}
	}
	if checked < len(values)/2 || high < 0.5 {
		t.Errorf("%d of %d voxels compared, the largest value %g", checked, len(values), high)
	}
	for d, want := range []float64{1.3, 1.1, 1.2} {
		if math.Abs(m.Voxel[d]-want) > 1e-3 {
			t.Errorf("voxel size %v", m.Voxel)
		}
	}
	if len(one.Features) == 0 || !slices.Equal(one.Features, m.Features) {
		t.Errorf("%d and %d features", len(one.Features), len(m.Features))
	}
}

// trilinear interpolates inside of an array; false outside.
func trilinear(v []float32, size [3]int, q [3]float64) (sum float64, ok bool) {
	for corner := range 8 {
		w, at := 1.0, 0
		for d := range 3 {
			base := math.Floor(q[d])
			if base < 0 || base+1 > float64(size[d]-1) {
				return 0, false
			}
			f := q[d] - base
			if corner>>d&1 == 0 {
				f = 1 - f
			}
			w, at = w*f, at*size[d]+int(base)+corner>>d&1
		}
		sum += w * float64(v[at])
	}
	return sum, true
}

// A sigmoid of one channel stands for two classes.
func TestSigmoid(t *testing.T) {
	r := serveModel(t, "inputs: [{source: image}]\nwindow: {size: image}\noutputs: [{activation: sigmoid, decision: threshold, threshold: 0.3}]\nlabels: [{name: a, value: 7}]\n", lopsided(1, 0, 1, 2))
	in := Input{Volumes: []*imaging.Volume{volumeOf(1, [3]int{5, 4, 3}, func(_, x, y, z int) float32 { return float32(math.Sin(float64(x + 2*y - z*z))) })}}
	m := measure(t, r, in, Sampling{})
	out, err := r.Infer(t.Context(), "m", in, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if differing(t, m.Labels, out.Labels) > 0 || slices.Max(m.Labels.Data) != 7 || slices.Min(m.Labels.Data) != 0 {
		t.Error("the labels differ from the inferred ones")
	}
	for v := range m.Maps.Labels {
		p, q := float64(m.Maps.Mean[1][v]), float64(m.Maps.Mean[0][v])
		h := -p*math.Log(p) - q*math.Log(q)
		if math.Abs(p+q-1) > 1e-6 || math.Abs(h-float64(m.Maps.Entropy[v])) > 1e-5 {
			t.Fatalf("voxel %d: %g and %g, entropy %g", v, p, q, m.Maps.Entropy[v])
		}
		if on := m.Labels.Data[v/12+5*(v/3%4+4*(v%3))] == 7; on != (p >= 0.3) {
			t.Fatalf("voxel %d: label %v at %g", v, on, p)
		}
	}
}

func TestMeasureRefuses(t *testing.T) {
	manifest := "inputs: [{source: image}]\nwindow: {size: image}\noutputs: [%s]\nlabels:\n" + labelsYAML(3)
	in := Input{Volumes: []*imaging.Volume{volumeOf(1, [3]int{4, 4, 4}, func(_, x, _, _ int) float32 { return float32(x) })}}
	plain := serveModel(t, fmt.Sprintf(manifest, "{activation: softmax}"), lopsided(3, 0, 1, 2))
	slices2D := serveModel(t, "dimension: 2\n"+fmt.Sprintf(manifest, "{activation: softmax}"), lopsided(3, 0, 1))
	scores := serveModel(t, fmt.Sprintf(manifest, "{activation: none, decision: argmax}"), lopsided(3, 0, 1, 2))
	overlap := serveModel(t, fmt.Sprintf(manifest, "{activation: sigmoid, decision: threshold, priority: [{channel: 0}, {channel: 1}]}"), lopsided(2, 0, 1, 2))
	for _, c := range []struct {
		r    *Registry
		s    Sampling
		says string
	}{
		{plain, Sampling{Dropout: 2}, "no dropout"},
		{plain, Sampling{Members: true}, "no ensemble"},
		{plain, Sampling{Map: "entrpy"}, "entrpy"},
		{plain, Sampling{Dropout: 65}, "65 passes"},
		{plain, Sampling{Dropout: 60, Flips: []string{AllMirrorings}}, "68 passes"},
		{plain, Sampling{Dropout: -1}, "-1"},
		{plain, Sampling{Flips: []string{"w"}}, "axes are named"},
		{plain, Sampling{Flips: []string{"xx"}}, "twice"},
		{plain, Sampling{Flips: []string{"xy", "yx"}}, "twice"},
		{slices2D, Sampling{Flips: []string{"z"}}, "slices"},
		{scores, Sampling{}, "without one"},
		{overlap, Sampling{}, "exclusive classes"},
		{slices2D, Sampling{Features: true}, ""},
	} {
		_, err := c.r.Measure(t.Context(), "m", in, Options{}, c.s)
		if c.says == "" {
			if err != nil {
				t.Errorf("%+v: %v", c.s, err)
			}
			continue
		}
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c.s, err)
		}
	}
	if _, err := plain.Measure(t.Context(), "n", in, Options{}, Sampling{}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("an unknown model: %v", err)
	}
}

// Variants are opened once and closed with the version; a context that ends
// stops a measurement, whose version serves on.
func TestVariantsLife(t *testing.T) {
	manifest, dir, in := goldenDropout(t)
	before := ort.OpenSessions()
	r := serve(t, "cpu", strings.Replace(manifest, "size: [16, 24, 16]", "size: [8, 8, 8], overlap: 0.9", 1), filepath.Join(dir, "model_dropout_switch.onnx"))
	for range 2 {
		measure(t, r, in, Sampling{Dropout: 1, Features: true, Map: MapMargin})
	}
	if n := ort.OpenSessions() - before; n != 3 {
		t.Errorf("%d sessions are open, want the plain one, one with masks and one with features", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now() // to its end it would take half a minute
	if _, err := r.Measure(ctx, "m", in, Options{}, Sampling{Dropout: 20}); fault.KindOf(err) != fault.Canceled || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stopped: %v", err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %v to stop", d)
	}
	measure(t, r, in, Sampling{})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if n := ort.OpenSessions() - before; n != 0 {
		t.Errorf("%d sessions are still open", n)
	}
}

// A model's file that has changed is not mistaken for the version in service.
func TestChangedFile(t *testing.T) {
	manifest, dir, in := goldenDropout(t)
	r := registry(t, "cpu")
	folder := modelDir(t, manifest, filepath.Join(dir, "model_dropout_switch.onnx"))
	if err := r.Add("m", folder); err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(t.Context(), "m"); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, NetworkFile), read(t, filepath.Join(dir, NetworkFile)))
	if _, err := r.Measure(t.Context(), "m", in, Options{}, Sampling{Dropout: 1}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("%v", err)
	}
	measure(t, r, in, Sampling{})
}
