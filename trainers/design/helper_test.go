package design

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/ort/orttest"
)

func cube(n int) []int { return []int{n, n, n} }

// small are networks of all kinds that train in milliseconds.
func small() map[string]Network {
	plain := func(f, encode, decode, stride int) Stage { return Stage{f, cube(3), cube(stride), encode, decode} }
	return map[string]Network{
		"plain":    {Plain, 3, 1, 3, []Stage{plain(4, 2, 2, 1), plain(8, 2, 2, 2), plain(8, 2, 0, 2)}, 1, 0.1},
		"light":    {Plain, 3, 2, 3, []Stage{plain(4, 0, 1, 1), plain(8, 2, 2, 2), plain(8, 2, 0, 2)}, 1, 0},
		"residual": {Residual, 3, 1, 2, []Stage{plain(4, 1, 1, 1), plain(8, 2, 1, 2), plain(12, 2, 0, 2)}, 1, 0.2},
		"light residual": {
			Residual, 3, 1, 3, []Stage{plain(4, 0, 1, 1), plain(4, 1, 1, 2), plain(8, 2, 0, 2)}, 1, 0,
		},
		"heads":       {Plain, 3, 1, 3, []Stage{plain(4, 1, 1, 1), plain(6, 1, 1, 2), plain(8, 1, 1, 2), plain(8, 1, 0, 2)}, 3, 0},
		"anisotropic": {Plain, 3, 1, 2, []Stage{{4, []int{3, 3, 1}, cube(1), 2, 2}, {8, cube(3), []int{2, 2, 1}, 2, 2}, {8, cube(3), cube(2), 2, 0}}, 1, 0},
		"slices":      {Plain, 2, 3, 4, []Stage{{4, []int{3, 3}, []int{1, 1}, 2, 2}, {8, []int{3, 3}, []int{2, 2}, 2, 2}, {8, []int{3, 3}, []int{2, 2}, 2, 0}}, 1, 0.1},
	}
}

func built(t *testing.T, n Network, seed uint64) *onnx.Model {
	t.Helper()
	m, err := n.Build(seed)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// forward runs a network on the CPU provider and returns its outputs with
// their shapes.
func forward(t *testing.T, m *onnx.Model, x []float32, shape []int64) (out [][]float32, shapes [][]int64) {
	t.Helper()
	m = m.Clone()
	if err := m.FixShape(m.Inputs()[0].Name, shape); err != nil {
		t.Fatal(err)
	}
	for i, o := range m.Graph.Outputs {
		for k := range o.Dims {
			if o.Dims[k].Size < 0 { // a head at half the size, a quarter, …; the library objects where it is not
				o.Dims[k].Size = shape[k] >> i
			}
		}
	}
	s, err := orttest.Runtime(t).NewSession(m.Bytes(), ort.SessionOptions{Device: ort.CPU, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var results []ort.Tensor
	for _, o := range s.Outputs() {
		r := ort.Tensor{Shape: o.Shape, Data: make([]float32, int(product(o.Shape)))}
		results, out, shapes = append(results, r), append(out, r.Data), append(shapes, o.Shape)
	}
	if err := s.Run(t.Context(), []ort.Tensor{{Shape: shape, Data: x}}, results); err != nil {
		t.Fatal(err)
	}
	return out, shapes
}

// noise is a reproducible image.
func noise(n int, name string) []float32 {
	v := make([]float32, n)
	normals(v, 1, 1, name)
	return v
}

func parsed(t *testing.T, path string) *onnx.Model {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := onnx.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// studies makes an empty studies folder.
func studies(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, finalLabels), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// addCase writes an image of the given size and spacing, with values by at,
// and a label map with labels by label.
func addCase(t *testing.T, dir, id string, size [3]int, spacing [3]float64, at func(i int) float32, label func(i int) uint16) {
	t.Helper()
	grid := imaging.Grid{Size: size, Affine: imaging.Identity()}
	for k := range 3 {
		grid.Affine[k][k] = spacing[k]
	}
	v := imaging.NewVolume(grid, 1, imaging.Float32)
	d := v.Data.(imaging.Samples[float32])
	l := imaging.NewLabelMap(grid)
	for i := range l.Data {
		d[i], l.Data[i] = at(i), label(i)
	}
	writeFile(t, filepath.Join(dir, id+".nii.gz"), func(w io.Writer) error { return codec.Write(w, ".nii.gz", v, codec.WriteOptions{}) })
	writeFile(t, filepath.Join(dir, finalLabels, id+".nii.gz"), func(w io.Writer) error {
		return codec.WriteLabels(w, ".nii.gz", l, imaging.Uint8, codec.WriteOptions{})
	})
}

func writeFile(t *testing.T, path string, fn func(io.Writer) error) {
	t.Helper()
	if err := atomicfile.Write(path, 0o644, fn); err != nil {
		t.Fatal(err)
	}
}

// one is a label map or image of one value.
func one[T float32 | uint16](v T) func(int) T { return func(int) T { return v } }
