// Package testkit helps tests to find the recorded data and to compare with
// it. It is imported by tests only.
package testkit

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// Root returns the folder that holds go.mod.
func Root(t testing.TB) string {
	t.Helper()
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("testkit: the caller's file is unknown")
	}
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// SharedDir returns the folder with recorded data and real volumes:
// VOXLOOP_SHARED, or ../shared beside the project.
func SharedDir(t testing.TB) string {
	t.Helper()
	if d := os.Getenv("VOXLOOP_SHARED"); d != "" {
		return d
	}
	return filepath.Join(filepath.Dir(Root(t)), "shared")
}

// Shared returns the path of a file or folder below SharedDir. Where it is
// absent the test is skipped with the reason, or fails when CI=true.
func Shared(t testing.TB, elem ...string) string {
	t.Helper()
	p := filepath.Join(append([]string{SharedDir(t)}, elem...)...)
	if _, err := os.Stat(p); err != nil {
		SkipOrFail(t, fmt.Sprintf("%s is absent: put the shared test data beside the project or name its folder in VOXLOOP_SHARED", filepath.Join(elem...)))
	}
	return p
}

// SkipOrFail ends the test: skipped on a developer's machine, failed in CI,
// where everything a test needs must be there.
func SkipOrFail(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// NeedTool returns the path of an independent program that a test
// cross-checks with, or skips (fails when CI=true) saying how to get it.
func NeedTool(t testing.TB, name, how string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		SkipOrFail(t, fmt.Sprintf("the program %s is not installed: %s", name, how))
	}
	return p
}

// Python returns a Python interpreter that can import the named modules, or
// skips (fails when CI=true) saying how to get them. Debian's interpreter is
// tried first: make test-deps installs modules for it.
func Python(t testing.TB, modules ...string) string {
	t.Helper()
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		p, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		code := "import " + strings.Join(append([]string{"sys"}, modules...), ",")
		if exec.CommandContext(t.Context(), p, "-c", code).Run() == nil { //nolint:gosec // the tests name the modules
			return p
		}
	}
	SkipOrFail(t, fmt.Sprintf("no Python with %s: run `make test-deps`", strings.Join(modules, ", ")))
	return ""
}

// NPY is an array read from a .npy file, in C order.
type NPY struct {
	Shape []int
	DType string // NumPy descr, for example "<f4"
	Raw   []byte // little-endian elements
}

var (
	npyDescr = regexp.MustCompile(`'descr':\s*'([^']+)'`)
	npyShape = regexp.MustCompile(`'shape':\s*\(([^)]*)\)`)
)

// ReadNPY reads a .npy file of format 1 to 3 in C order.
func ReadNPY(t testing.TB, path string) NPY {
	t.Helper()
	b, err := os.ReadFile(path) //nolint:gosec // tests name their own files
	if err != nil {
		t.Fatal(err)
	}
	if len(b) < 12 || !bytes.HasPrefix(b, []byte("\x93NUMPY")) {
		t.Fatalf("%s is no .npy file", path)
	}
	head, start := int(binary.LittleEndian.Uint16(b[8:])), 10
	if b[6] >= 2 {
		head, start = int(binary.LittleEndian.Uint32(b[8:])), 12
	}
	text := string(b[start : start+head])
	d, s := npyDescr.FindStringSubmatch(text), npyShape.FindStringSubmatch(text)
	if d == nil || s == nil || strings.Contains(text, "'fortran_order': True") {
		t.Fatalf("%s: unsupported .npy header %q", path, text)
	}
	a := NPY{DType: d[1], Raw: b[start+head:]}
	for f := range strings.SplitSeq(s[1], ",") {
		if f = strings.TrimSpace(f); f == "" {
			continue
		}
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatalf("%s: shape %q", path, s[1])
		}
		a.Shape = append(a.Shape, n)
	}
	return a
}

// Len returns the number of elements.
func (a NPY) Len() int {
	n := 1
	for _, s := range a.Shape {
		n *= s
	}
	return n
}

// F64 converts the elements of any real type.
func (a NPY) F64(t testing.TB) []float64 {
	t.Helper()
	out := make([]float64, a.Len())
	for i := range out {
		out[i] = a.at(t, i)
	}
	return out
}

// F32 converts the elements of any real type.
func (a NPY) F32(t testing.TB) []float32 {
	t.Helper()
	out := make([]float32, a.Len())
	for i := range out {
		out[i] = float32(a.at(t, i))
	}
	return out
}

func (a NPY) at(t testing.TB, i int) float64 {
	t.Helper()
	le, r := binary.LittleEndian, a.Raw
	switch a.DType {
	case "<f4":
		return float64(math.Float32frombits(le.Uint32(r[4*i:])))
	case "<f8":
		return math.Float64frombits(le.Uint64(r[8*i:]))
	case "|u1":
		return float64(r[i])
	case "|i1":
		return float64(int8(r[i])) //nolint:gosec // reinterprets bits
	case "|b1":
		return float64(r[i])
	case "<i2":
		return float64(int16(le.Uint16(r[2*i:]))) //nolint:gosec // reinterprets bits
	case "<u2":
		return float64(le.Uint16(r[2*i:]))
	case "<i4":
		return float64(int32(le.Uint32(r[4*i:]))) //nolint:gosec // reinterprets bits
	case "<i8":
		return float64(int64(le.Uint64(r[8*i:]))) //nolint:gosec // reinterprets bits
	}
	t.Fatalf("unsupported .npy element type %s", a.DType)
	return 0
}

// MaxDiff returns the largest |a[i]-b[i]|; it fails the test when the lengths
// differ and returns +Inf where one value is NaN and the other is not.
func MaxDiff[T ~float32 | ~float64](t testing.TB, a, b []T) float64 {
	t.Helper()
	if len(a) != len(b) {
		t.Fatalf("%d values against %d", len(a), len(b))
	}
	var worst float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		if math.IsNaN(x) && math.IsNaN(y) {
			continue
		}
		d := math.Abs(x - y)
		if math.IsNaN(d) {
			return math.Inf(1)
		}
		worst = max(worst, d)
	}
	return worst
}
