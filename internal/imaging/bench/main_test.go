package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
)

// TestPreprocess runs the section that compare.py starts.
func TestPreprocess(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "v.nii.gz"), filepath.Join(dir, "v.f32")
	v := imaging.NewVolume(imaging.Grid{Size: [3]int{7, 5, 3}, Affine: imaging.Affine{{-1.5, 0, 0, 0}, {0, 1.5, 0, 0}, {0, 0, 2, 0}, {0, 0, 0, 1}}}, 1, imaging.Int16)
	v.Data.(imaging.Samples[int16])[0] = 40
	var b bytes.Buffer
	if err := codec.Write(&b, ".nii.gz", v, codec.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout bytes.Buffer
	if err := run(t.Context(), []string{"preprocess", "--in", in, "--out", out, "--repeat", "2"}, &stdout); err != nil {
		t.Fatal(err)
	}
	var r result
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil || len(r.Seconds) != 2 || r.Seconds[0] <= 0 {
		t.Errorf("%s: %v", stdout.String(), err)
	}
	tensor, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if len(tensor) != 4*7*5*3 {
		t.Fatalf("%d bytes", len(tensor))
	}
	// 0 becomes 0.4 and 40 becomes 0.5; voxel (0, 0, 0) of a volume that runs
	// to the left is the last along x.
	for i, want := range map[int]float64{0: 0.4, 6 * 5 * 3: 0.5} {
		got := math.Float32frombits(binary.LittleEndian.Uint32(tensor[4*i:]))
		if math.Abs(float64(got)-want) > 1e-6 {
			t.Errorf("value %d is %g, want %g", i, got, want)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	for _, args := range [][]string{nil, {"nothing"}, {"preprocess", "--in", "absent.nii"}} {
		if err := run(t.Context(), args, &bytes.Buffer{}); err == nil {
			t.Errorf("%s: no error", strings.Join(args, " "))
		}
	}
}
