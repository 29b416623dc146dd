package onnx_test

import (
	"math"
	"testing"

	"github.com/voxloop/voxloop/internal/onnx"
)

func TestCompare(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	tests := []struct {
		name     string
		a, b     []float32
		channels int
		want     onnx.Diff
	}{
		{"equal", []float32{1, 2, 3, 4}, []float32{1, 2, 3, 4}, 2, onnx.Diff{LabelsEqual: 1}},
		{"one of two labels flips", []float32{1, 5, 3, 4}, []float32{1, 2, 3, 4}, 2, onnx.Diff{MaxAbs: 3, MaxRel: 0.75, LabelsEqual: 0.5}},
		{"small values are not divided", []float32{0.5, 0}, []float32{0.25, 0}, 2, onnx.Diff{MaxAbs: 0.25, MaxRel: 0.25, LabelsEqual: 1}},
		{"a tie goes to the first channel", []float32{1, 1}, []float32{1, 0}, 2, onnx.Diff{MaxAbs: 1, MaxRel: 1, LabelsEqual: 1}},
		{"one channel: the sign", []float32{-1, 2}, []float32{1, 2}, 1, onnx.Diff{MaxAbs: 2, MaxRel: 1, LabelsEqual: 0.5}},
		{"not a number", []float32{nan, 1}, []float32{0, 1}, 2, onnx.Diff{MaxAbs: math.Inf(1), MaxRel: math.Inf(1), LabelsEqual: 0}},
		{"both not a number, both infinite", []float32{nan, inf}, []float32{nan, inf}, 1, onnx.Diff{LabelsEqual: 1}},
		{"lengths", []float32{1}, []float32{1, 2}, 1, onnx.Diff{MaxAbs: math.Inf(1), MaxRel: math.Inf(1)}},
	}
	for _, tt := range tests {
		if got := onnx.Compare(tt.a, tt.b, tt.channels); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
