package trainers

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestCheckpointKeepsEveryBit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c")
	long := make([]float32, 40_000)
	for i := range long {
		long[i] = float32(math.Sin(float64(i)))
	}
	in := map[string][]float32{
		"a": {0, float32(math.Copysign(0, -1)), float32(math.Inf(1)), math.Float32frombits(0x7fc12345), 1e-42}, "empty": {}, "long": long,
	}
	s := state{Request: "r", Step: 7, Sum: 0.1 + 0.2, Warnings: []string{"ä\n"}}
	if err := (checkpoint{head: &s, vectors: in}).write(path); err != nil {
		t.Fatal(err)
	}
	var back state
	out, err := readCheckpoint(path, &back)
	if err != nil {
		t.Fatal(err)
	}
	if back.Sum != s.Sum || back.Step != 7 || back.Warnings[0] != "ä\n" || len(out) != 3 {
		t.Errorf("state %+v, %d vectors", back, len(out))
	}
	for name, v := range in {
		if !slices.EqualFunc(v, out[name], func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
			t.Errorf("%s differs", name)
		}
	}
	if _, err := readCheckpoint(path+"x", &back); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// Any byte that is wrong or missing is noticed, and nothing is allocated for
// what is not there.
func TestDamagedCheckpoint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c")
	if err := (checkpoint{head: &state{Request: "r"}, vectors: map[string][]float32{"a": {1, 2, 3}}}).write(path); err != nil {
		t.Fatal(err)
	}
	whole := readFile(t, path)
	try := func(what string, data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		var s state
		if _, err := readCheckpoint(path, &s); !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range whole {
		bad := slices.Clone(whole)
		bad[i] ^= 0x40
		try("a changed byte", bad)
		try("a short file", whole[:i])
	}
	try("a long file", append(slices.Clone(whole), 0))
}
