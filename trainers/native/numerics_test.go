package native

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/testkit"
)

// numericCase is one case of golden/numerics.
type numericCase struct {
	Name, Operation  string
	Parameters       json.RawMessage
	Inputs, Expected map[string]json.RawMessage
	Tolerance        struct{ Atol, Rtol float64 }

	root string
}

// value is an array, in a file, or a number or list in the index.
type value struct {
	File  string
	Value json.RawMessage
}

// read decodes v, which is in the index.
func (c numericCase) read(t *testing.T, raw json.RawMessage, v any) {
	t.Helper()
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatalf("%s: %v in %s", c.Name, err, raw)
	}
}

// array reads an array's file.
func (c numericCase) array(t *testing.T, raw json.RawMessage) testkit.NPY {
	t.Helper()
	var v value
	if c.read(t, raw, &v); v.File == "" {
		t.Fatalf("%s: no file in %s", c.Name, raw)
	}
	return testkit.ReadNPY(t, filepath.Join(c.root, v.File))
}

// numbers reads a number, a list or an array.
func (c numericCase) numbers(t *testing.T, raw json.RawMessage) []float64 {
	t.Helper()
	var v value
	c.read(t, raw, &v)
	if v.File != "" {
		return c.array(t, raw).F64(t)
	}
	var list []float64
	if json.Unmarshal(v.Value, &list) == nil {
		return list
	}
	var one float64
	c.read(t, v.Value, &one)
	return []float64{one}
}

// compare returns how much of the tolerance is used: at most 1 when got agrees.
func (c numericCase) compare(got, want []float64) float64 {
	if len(got) != len(want) || len(want) == 0 {
		return math.Inf(1)
	}
	used := 0.0
	for i, w := range want {
		d := math.Abs(got[i] - w)
		switch allowed := c.Tolerance.Atol + c.Tolerance.Rtol*math.Abs(w); {
		case d == 0:
		case math.IsNaN(d):
			return math.Inf(1)
		default:
			used = max(used, d/allowed) // Inf where equality is asked for
		}
	}
	return used
}

func wide(v []float32) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

// checkNumerics runs every case of a topic through the check for its
// operation, which returns how much of the tolerance is used, and logs a table.
func checkNumerics(t *testing.T, topic string, cases int, checks map[string]func(t *testing.T, c numericCase) float64) {
	t.Helper()
	root := testkit.Shared(t, "golden", "numerics", topic)
	var file struct{ Cases []numericCase }
	readJSON(t, filepath.Join(root, "cases.json"), &file)
	if len(file.Cases) != cases {
		t.Fatalf("%d cases instead of %d", len(file.Cases), cases)
	}
	var table strings.Builder
	passed := 0
	for _, c := range file.Cases {
		check := checks[c.Operation]
		if check == nil {
			t.Errorf("%s: nothing checks %q", c.Name, c.Operation)
			continue
		}
		c.root = root
		used := math.Inf(1)
		if t.Run(c.Name, func(t *testing.T) {
			if used = check(t, c); !(used <= 1) {
				t.Errorf("%.3g times the tolerance", used)
			}
		}) {
			passed++
		}
		fmt.Fprintf(&table, "%-34s %-58s %9.1e\n", c.Name, c.Operation, used)
	}
	t.Logf("%s: %d of %d cases hold; share of the tolerance used\n%s", topic, passed, cases, table.String())
}
