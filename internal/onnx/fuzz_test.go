package onnx_test

import (
	"bytes"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
)

// FuzzParse: any bytes give a model or an error of kind Invalid; a model that
// was read can be described, written and read again.
func FuzzParse(f *testing.F) {
	m := onnx.NewModel(17)
	m.AddInput("x", onnx.Float32, -1, 1, -1, -1, -1)
	m.AddInitializer(onnx.NewFloat32("w", []int64{1, 1, 3, 3, 3}, make([]float32, 27)))
	m.AddInitializer(onnx.NewFloat32("slope", []int64{1}, []float32{0.25}))
	m.AddNode("Conv", []string{"x", "w"}, []string{"c"}, onnx.IntsAttr("pads", 1, 1, 1, 1, 1, 1))
	m.AddNode("PRelu", []string{"c", "slope"}, []string{"y"}, onnx.StringAttr("s", "t"), onnx.FloatAttr("f", 1))
	m.AddOutput("y", onnx.Float32, -1, 1, -1, -1, -1)
	f.Add(m.Bytes())
	one := []float32{1}
	for _, kind := range []string{"InstanceNormalization", "GroupNormalization operator", "GroupNormalization operator of 18", "group norm as exported", "written out"} {
		f.Add(normModel(kind, one, one).Bytes())
	}
	f.Add(diamond().Bytes())
	f.Add(doubling(1, 1, true).Bytes())
	f.Add(modelOf(message(1, message(4, "If", 5, message(1, "then_branch", 6, message(2, "inner"), 20, 5)))))
	f.Add([]byte("<!DOCTYPE html>"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := onnx.Parse(data)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("kind %v: %v", fault.KindOf(err), err)
			}
			return
		}
		m.Features()
		m.Inputs()
		m.Outputs()
		out := m.Bytes()
		again, err := onnx.Parse(out)
		if err != nil {
			t.Fatalf("own encoding is refused: %v", err)
		}
		if !bytes.Equal(again.Bytes(), out) {
			t.Fatal("a second round trip changes the bytes")
		}
		for _, provider := range []string{"cpu", "openvino", "cuda"} {
			p, _, err := onnx.Prepare(m, onnx.PrepareOptions{Provider: provider})
			if err != nil {
				if fault.KindOf(err) != fault.Invalid {
					t.Fatalf("prepare: kind %v: %v", fault.KindOf(err), err)
				}
				continue
			}
			if _, err := onnx.Parse(p.Bytes()); err != nil {
				t.Fatalf("the prepared model is refused: %v", err)
			}
		}
	})
}
