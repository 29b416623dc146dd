package demo

import (
	"errors"
	"math"

	"github.com/voxloop/voxloop/internal/onnx"
)

// Harmed returns a network with the weights of its first 3-D convolution turned
// around: it runs, and finds nothing right.
func Harmed(network []byte) ([]byte, error) {
	m, err := onnx.Parse(network)
	if err != nil {
		return nil, err
	}
	for _, t := range m.Graph.Initializers {
		v, err := t.Float32()
		if err != nil || len(t.Dims) != 5 {
			continue
		}
		for i := range v {
			v[i] = -v[i] + float32(math.Sin(float64(i)))
		}
		m.Graph.SetInitializer(onnx.NewFloat32(t.Name, t.Dims, v))
		return m.Bytes(), nil
	}
	return nil, errors.New("the network has no 3-D convolution to harm")
}
