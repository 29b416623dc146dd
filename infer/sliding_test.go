package infer

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/goldentest"
	"github.com/voxloop/voxloop/internal/imaging/transform"
	"github.com/voxloop/voxloop/internal/testkit"
)

// slidingCase is one recorded case of shared golden/numerics/sliding_window.
type slidingCase struct {
	Name       string `json:"name"`
	Operation  string `json:"operation"`
	Parameters struct {
		Roi      []int           `json:"roi_size"`
		Patch    []int           `json:"patch_size"`
		Overlap  json.RawMessage `json:"overlap"`
		Mode     string          `json:"mode"`
		Sigma    json.RawMessage `json:"sigma_scale"`
		Padding  string          `json:"padding_mode"`
		PadValue float64         `json:"cval"`
	} `json:"parameters"`
	Inputs map[string]struct {
		File string `json:"file"`
	} `json:"inputs"`
	Expected map[string]struct {
		File  string          `json:"file"`
		Value json.RawMessage `json:"value"`
	} `json:"expected"`
	Tolerance struct {
		Atol float64 `json:"atol"`
		Rtol float64 `json:"rtol"`
	} `json:"tolerance"`
}

func three(t *testing.T, raw json.RawMessage) [3]float64 {
	t.Helper()
	var one float64
	if json.Unmarshal(raw, &one) == nil {
		return [3]float64{one, one, one}
	}
	var v [3]float64
	decodeJSON(t, raw, &v)
	return v
}

func decodeJSON(t *testing.T, raw json.RawMessage, v any) {
	t.Helper()
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatal(err)
	}
}

// convolution is the recorded cases' network: a 3³ convolution with zero
// padding and a softmax over its channels, from the buffers of a network.
type convolution struct {
	s             *network
	weights, bias []float32
	ran           int
}

func (c *convolution) Run(context.Context) error {
	c.ran++
	size := c.s.b.window
	n := size[0] * size[1] * size[2]
	k := len(c.bias)
	for b := range c.s.b.batch {
		out := c.s.out[0][b*k*n : (b+1)*k*n]
		for i := range n {
			for ch := range k {
				out[ch*n+i] = c.at(c.s.in[b*n:(b+1)*n], size, ch, i)
			}
		}
		transform.Softmax(out, n, 0, n)
	}
	return nil
}

func (c *convolution) at(in []float32, size [3]int, ch, i int) float32 {
	sum := float64(c.bias[ch])
	x, y, z := i/(size[1]*size[2]), i/size[2]%size[1], i%size[2]
	for w := range 27 {
		a, b, d := x+w/9-1, y+w/3%3-1, z+w%3-1
		if a >= 0 && a < size[0] && b >= 0 && b < size[1] && d >= 0 && d < size[2] {
			sum += float64(c.weights[ch*27+w]) * float64(in[(a*size[1]+b)*size[2]+d])
		}
	}
	return float32(sum)
}

// meanSink collects blended means, from as few planes at a time as possible.
type meanSink struct {
	t   *testing.T
	out []float32 // [channels, array]
}

func (k *meanSink) carry() int              { return 1 }
func (k *meanSink) depth(n, window int) int { return min(n, window+1) }

func (k *meanSink) flush(_ context.Context, all []*scores, limit int) error {
	s := all[0]
	if len(s.sum) != s.channels*s.n || s.n != s.depth*s.plane() {
		k.t.Errorf("%d sums for %d channels of %d planes", len(s.sum), s.channels, s.depth)
	}
	from, to := s.open(limit)
	s.normalise(from, to)
	n := s.w.array[0] * s.plane()
	for c := range s.channels {
		copy(k.out[c*n+s.base*s.plane()+from:], s.sum[c*s.n+from:c*s.n+to])
	}
	s.done = limit
	return nil
}

func (k *meanSink) finish(context.Context, Options) (*imaging.LabelMap, error) { return nil, nil }

func TestSlidingWindowGolden(t *testing.T) {
	dir := testkit.Shared(t, "golden", "numerics", "sliding_window")
	b, err := os.ReadFile(filepath.Join(dir, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Cases []slidingCase }
	decodeJSON(t, b, &all)
	checks := map[string]func(*testing.T, string, slidingCase){
		"sliding_window_inference": checkSliding,
		"compute_importance_map":   checkImportance,
	}
	n := goldentest.Counts{}
	for _, c := range all.Cases {
		check, ok := checks[c.Operation]
		if !ok {
			t.Errorf("%s: no check for %s", c.Name, c.Operation)
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			check(t, dir, c)
			n[c.Operation]++
		})
	}
	n.Table(t, 37)
}

func checkImportance(t *testing.T, dir string, c slidingCase) {
	got := importance(c.Parameters.Mode, [3]int(c.Parameters.Patch), three(t, c.Parameters.Sigma))
	closeTo(t, "map", got, testkit.ReadNPY(t, filepath.Join(dir, c.Expected["map"].File)).F64(t), c.Tolerance.Atol, c.Tolerance.Rtol)
}

func closeTo(t *testing.T, what string, got []float32, want []float64, atol, rtol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range want {
		if d := math.Abs(float64(got[i]) - want[i]); !(d <= atol+rtol*math.Abs(want[i])) {
			t.Fatalf("%s: value %d is %g, want %g", what, i, got[i], want[i])
		}
	}
}

func checkSliding(t *testing.T, dir string, c slidingCase) {
	read := func(key string) testkit.NPY { return testkit.ReadNPY(t, filepath.Join(dir, c.Inputs[key].File)) }
	image := read("image")
	array := [3]int(image.Shape[2:])
	voxels := array[0] * array[1] * array[2]
	roi := [3]int(c.Parameters.Roi)
	for d := range roi {
		if roi[d] <= 0 {
			roi[d] = array[d] // MONAI: the whole axis
		}
	}
	overlap := three(t, c.Parameters.Overlap)
	for _, batch := range []int{1, 3} {
		s := &network{m: &Manifest{Dimension: 3, Inputs: make([]InputSpec, 1)}, pool: &buffers{}}
		s.m.setDefaults()
		s.m.Window.Overlap = overlap[:]
		s.m.Window.Padding, s.m.Window.PadValue = transform.PadMode(c.Parameters.Padding), c.Parameters.PadValue
		s.b = &binding{batch: batch, window: roi}
		s.heads = []head{{channels: 3}}
		s.importance = importance(c.Parameters.Mode, roi, three(t, c.Parameters.Sigma))
		s.in = make([]float32, batch*roi[0]*roi[1]*roi[2])
		s.out = [][]float32{make([]float32, 3*len(s.in))}
		conv := &convolution{s: s, weights: read("weights").F32(t), bias: read("bias").F32(t)}
		s.bound = conv
		var got []float32
		for n := range image.Shape[0] {
			p := &prepared{layout: transform.Layout{Size: array}, data: image.F32(t)[n*voxels : (n+1)*voxels]}
			k := &meanSink{t: t, out: make([]float32, 3*voxels)}
			if err := s.slide(t.Context(), &task{}, p, k); err != nil {
				t.Fatal(err)
			}
			got = append(got, k.out...)
		}
		what := fmt.Sprintf("batches of %d", batch)
		closeTo(t, what, got, testkit.ReadNPY(t, filepath.Join(dir, c.Expected["output"].File)).F64(t), c.Tolerance.Atol, c.Tolerance.Rtol)
		checkPlaces(t, c, newWindows(array, roi, overlap), image.Shape[0])
		checkMap(t, dir, c, s.importance, roi)
	}
}

// checkPlaces compares the windows' starts, which are recorded in the padded
// array.
func checkPlaces(t *testing.T, c slidingCase, w windows, images int) {
	t.Helper()
	var padded [3]int
	var want [][4]int
	decodeJSON(t, c.Expected["padded_size"].Value, &padded)
	decodeJSON(t, c.Expected["windows_start_batch_xyz"].Value, &want)
	var got [][4]int
	for n := range images {
		for i := range w.count() {
			at := [4]int{n}
			for d, s := range w.at(i) {
				at[d+1] = s + (padded[d]-w.array[d])/2
				if p := max(w.array[d], w.size[d]); p != padded[d] {
					t.Errorf("axis %d is padded to %d, want %d", d, p, padded[d])
				}
			}
			got = append(got, at)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("windows at %v, want %v", got, want)
	}
}

func checkMap(t *testing.T, dir string, c slidingCase, got []float32, roi [3]int) {
	t.Helper()
	if got == nil {
		got = slices.Repeat([]float32{1}, roi[0]*roi[1]*roi[2])
	}
	if f := c.Expected["importance_map"].File; f != "" {
		closeTo(t, "importance", got, testkit.ReadNPY(t, filepath.Join(dir, f)).F64(t), 1e-6, 1e-5)
	}
	var want [3]float64
	decodeJSON(t, c.Expected["importance_min_max_sum"].Value, &want)
	lo, hi, sum := math.Inf(1), 0.0, 0.0
	for _, v := range got {
		lo, hi, sum = min(lo, float64(v)), max(hi, float64(v)), sum+float64(v)
	}
	for i, v := range []float64{lo, hi, sum} {
		if math.Abs(v-want[i]) > 1e-5*max(1, want[i]) {
			t.Errorf("importance %s %g, want %g", []string{"minimum", "maximum", "sum"}[i], v, want[i])
		}
	}
}
