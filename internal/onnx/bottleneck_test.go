package onnx

import (
	"os"
	"testing"

	"github.com/voxloop/voxloop/internal/testkit"
)

// The bottleneck of a U-Net is its lowest level, or that level beside what is
// skipped past it; an input and nodes that no output hangs on are none.
func TestBottleneck(t *testing.T) {
	for _, c := range []struct {
		network, name string
		channels      int
	}{
		{"basicunet", "/down_4/convs/conv_1/adn/A/LeakyRelu_output_0", 32},
		{"dynunet_ds", "/skip_layers/next_layer/next_layer/bottleneck/lrelu_1/LeakyRelu_output_0", 32},
		{"unet_res2_prelu", "/model/model.1/submodule/submodule.1/submodule/submodule.1/Concat_output_0", 56},
		{"unet2d_bn", "/model/model.1/submodule/submodule.1/Concat_output_0", 80},
		{"dints", "", 0},
	} {
		b, err := os.ReadFile(testkit.Shared(t, "golden", "networks", c.network, "model.onnx"))
		if err != nil {
			t.Fatal(err)
		}
		m, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		in := m.Inputs()[0]
		shape := in.Shape
		for i := range shape {
			if shape[i] < 0 {
				shape[i] = 64
			}
		}
		if err := m.FixShape(in.Name, shape); err != nil {
			t.Fatal(err)
		}
		if err := m.Graph.Sort(); err != nil {
			t.Fatal(err)
		}
		name, channels, ok := m.Bottleneck(len(shape))
		if name != c.name || channels != c.channels || ok != (c.channels > 0) {
			t.Errorf("%s: %s with %d channels, %v", c.network, name, channels, ok)
		}
		if c.network == "basicunet" {
			m.Graph.Outputs[0].Name = "/down_1/convs/conv_1/adn/A/LeakyRelu_output_0"
			if name, _, _ := m.Bottleneck(len(shape)); name != "/down_1/convs/conv_1/conv/Conv_output_0" {
				t.Errorf("of the upper half alone: %s", name)
			}
		}
	}
}
