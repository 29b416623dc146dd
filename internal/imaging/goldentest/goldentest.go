// Package goldentest reads the recorded numbers of shared golden/numerics: one
// cases.json per topic, arrays beside it. It is imported by tests only.
package goldentest

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/testkit"
)

// Case is one recorded operation.
type Case struct {
	Name       string                     `json:"name"`
	Operation  string                     `json:"operation"`
	Parameters map[string]json.RawMessage `json:"parameters"`
	Inputs     map[string]Recorded        `json:"inputs"`
	Expected   map[string]Recorded        `json:"expected"`
	Tolerance  struct {
		Atol float64 `json:"atol"`
		Rtol float64 `json:"rtol"`
	} `json:"tolerance"`
	dir string
}

// Recorded is an array in a file, or a value.
type Recorded struct {
	File   string         `json:"file"`
	Affine imaging.Affine `json:"affine"`
	Value  any            `json:"value"`
}

// Read returns the cases of a topic that are of one of the operations, all of
// them where none is named.
func Read(t testing.TB, topic string, operations ...string) []Case {
	t.Helper()
	dir := testkit.Shared(t, "golden", "numerics", topic)
	b, err := os.ReadFile(filepath.Join(dir, "cases.json")) //nolint:gosec // tests name their own files
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Cases []json.RawMessage }
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	var out []Case
	for _, raw := range all.Cases {
		var head struct{ Operation string }
		if err := json.Unmarshal(raw, &head); err != nil {
			t.Fatal(err)
		}
		if len(operations) > 0 && !slices.Contains(operations, head.Operation) {
			continue
		}
		c := Case{dir: dir}
		if err := json.Unmarshal(raw, &c); err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

// Param decodes a parameter; absent or null leaves the default.
func Param[T any](t testing.TB, c Case, key string, def T) T {
	t.Helper()
	raw, ok := c.Parameters[key]
	if !ok || string(raw) == "null" {
		return def
	}
	if err := json.Unmarshal(raw, &def); err != nil {
		t.Fatalf("parameter %s: %v", key, err)
	}
	return def
}

// Path returns the path of an input's file.
func (c Case) Path(key string) string { return filepath.Join(c.dir, c.Inputs[key].File) }

// Input reads an input array.
func (c Case) Input(t testing.TB, key string) testkit.NPY {
	t.Helper()
	return testkit.ReadNPY(t, c.Path(key))
}

// Want reads an expected array.
func (c Case) Want(t testing.TB, key string) testkit.NPY {
	t.Helper()
	return testkit.ReadNPY(t, filepath.Join(c.dir, c.Expected[key].File))
}

// Numbers returns the numbers of a value in order, nested lists flattened.
func (c Case) Numbers(t testing.TB, r Recorded) []float64 {
	t.Helper()
	var out []float64
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case float64:
			out = append(out, v)
		case string:
			f, ok := map[string]float64{"NaN": math.NaN(), "Inf": math.Inf(1), "-Inf": math.Inf(-1)}[v]
			if !ok {
				t.Fatalf("%q is no number", v)
			}
			out = append(out, f)
		case []any:
			for _, e := range v {
				walk(e)
			}
		default:
			t.Fatalf("%v is no number", v)
		}
	}
	walk(r.Value)
	return out
}

// Expect compares numbers with the expected value of that name at the case's
// tolerance; NaN and infinities must be equal.
func (c Case) Expect(t testing.TB, key string, got ...float64) {
	t.Helper()
	r, ok := c.Expected[key]
	if !ok {
		t.Errorf("the case has no %s", key)
		return
	}
	want := c.Numbers(t, r)
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", key, len(got), len(want))
		return
	}
	for i := range want {
		if !c.Close(got[i], want[i]) {
			t.Errorf("%s[%d] = %v, want %v", key, i, got[i], want[i])
		}
	}
}

// Close compares two numbers at the case's tolerance.
func (c Case) Close(got, want float64) bool {
	if math.IsNaN(want) || math.IsInf(want, 0) {
		return got == want || math.IsNaN(got) && math.IsNaN(want)
	}
	return math.Abs(got-want) <= c.Tolerance.Atol+c.Tolerance.Rtol*math.Abs(want)
}

// Labels returns the labels of an array [X, Y, Z] or [1, X, Y, Z] (Z fastest)
// in the order of imaging.LabelMap (x fastest), and its size.
func Labels(t testing.TB, a testkit.NPY) (data []uint16, size [3]int) {
	t.Helper()
	channels, size := Channels(t, a)
	if len(channels) != 1 {
		t.Fatalf("shape %v has several channels", a.Shape)
	}
	for _, v := range channels[0] {
		data = append(data, uint16(v))
	}
	return data, size
}

// Channels returns the channels of an array [X, Y, Z] or [C, X, Y, Z] (Z
// fastest), each x fastest, and its size.
func Channels(t testing.TB, a testkit.NPY) (channels [][]float64, size [3]int) {
	t.Helper()
	shape := a.Shape
	if len(shape) == 3 {
		shape = append([]int{1}, shape...)
	}
	if len(shape) != 4 {
		t.Fatalf("shape %v is not [C, X, Y, Z]", a.Shape)
	}
	copy(size[:], shape[1:])
	all := a.F64(t)
	for len(all) > 0 {
		out := make([]float64, size[0]*size[1]*size[2])
		for i := range out {
			x, y, z := i%size[0], i/size[0]%size[1], i/(size[0]*size[1])
			out[i] = all[(x*size[1]+y)*size[2]+z]
		}
		channels, all = append(channels, out), all[len(out):]
	}
	return channels, size
}

// Counts counts the cases that were checked, by operation.
type Counts map[string]int

// Table writes the counts to the test's log and fails when their sum is not
// want.
func (n Counts) Table(t testing.TB, want int) {
	t.Helper()
	var b strings.Builder
	total := 0
	for _, op := range slices.Sorted(maps.Keys(n)) {
		fmt.Fprintf(&b, "\n%4d  %s", n[op], op)
		total += n[op]
	}
	t.Logf("golden cases by operation:%s\n%4d  in all, none skipped", b.String(), total)
	if total != want {
		t.Errorf("%d cases were checked, want %d", total, want)
	}
}
