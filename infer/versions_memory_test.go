package infer

import (
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/testkit"
)

// chainNetwork is a convolution to wide channels and one back to two, with two maps of
// them between: three wide arrays, two at a time.
func chainNetwork(wide int64) []byte {
	m := onnx.NewModel(17)
	m.AddInput("x", onnx.Float32, -1, 1, -1, -1, -1)
	m.AddInitializer(onnx.NewFloat32("w", []int64{wide, 1, 1, 1, 1}, make([]float32, wide)))
	m.AddInitializer(onnx.NewFloat32("v", []int64{2, wide, 1, 1, 1}, make([]float32, 2*wide)))
	m.AddNode("Conv", []string{"x", "w"}, []string{"a"})
	m.AddNode("Relu", []string{"a"}, []string{"b"})
	m.AddNode("Relu", []string{"b"}, []string{"c"})
	m.AddNode("Conv", []string{"c", "v"}, []string{"y"})
	m.AddOutput("y", onnx.Float32, -1, 2, -1, -1, -1)
	return m.Bytes()
}

func TestMemory(t *testing.T) {
	for _, wide := range []int64{10, 1000} {
		p, err := OpenPipeline(fstest.MapFS{ManifestFile: {Data: []byte(smallManifest)}, NetworkFile: {Data: chainNetwork(wide)}}, PipelineOptions{})
		if err != nil {
			t.Fatal(err)
		}
		// Windows of 8³: two wide arrays, and the weights of both layers.
		if got, want := p.Memory(), 4*(2*wide*512+3*wide); got != want {
			t.Errorf("%d channels: %d bytes, want %d", wide, got, want)
		}
	}
	p, err := OpenPipeline(os.DirFS(filepath.Join(testkit.Root(t), "apps", "radiology", "models", "hippocampus")), PipelineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Memory(); got < 4*1_187_766 || got > 200<<20 {
		t.Errorf("the starting model: %d bytes", got)
	} else {
		t.Logf("the starting model: %d bytes", got)
	}
}
