package infer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort"
)

// Tolerances of the self-test, as shares of max(1, largest |score|).
const (
	toleranceCPU   = 1e-4 // the golden networks' own
	toleranceOther = 3e-4
	labelShare     = 1e-4 // of the voxels may get another label
)

// selfTest compares a prepared graph on a device with the untouched graph on
// the CPU provider, on one window. The result is kept in the cache folder, so
// it runs once per graph, library, device and processor.
type selfTest struct {
	*loader
	m      *Manifest
	b      *binding
	plain  *onnx.Model
	ready  []byte // the prepared graph
	device string
}

// verdict is what the cache keeps.
type verdict struct {
	Passed     bool    `json:"passed"`
	Difference float64 `json:"max_difference"` // share of max(1, largest |score|)
	Labels     int     `json:"labels_changed"`
	Voxels     int     `json:"voxels"`
	Device     string  `json:"device"`
	Library    string  `json:"library"`
	Processor  string  `json:"processor"`
}

// check returns nil when the device may serve the network.
func (t *selfTest) check(ctx context.Context) error {
	path := t.cachePath()
	if v, ok := readVerdict(path); ok {
		return v.err()
	}
	select {
	case t.testing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-t.testing }()
	v, err := t.measure(ctx)
	if err != nil {
		return err
	}
	if err := writeVerdict(path, v); err != nil {
		t.log.Warn("the result of the self-test cannot be kept", "err", err)
	}
	return v.err()
}

func (v verdict) err() error {
	if v.Passed {
		return nil
	}
	return fault.New(fault.Unavailable, "self-test on %s failed: scores differ by %.2g of their largest, %d of %d voxels change their label", v.Device, v.Difference, v.Labels, v.Voxels)
}

// cachePath names the result by all that it hangs on; "" without a cache.
func (t *selfTest) cachePath() string {
	if t.cacheDir == "" {
		return ""
	}
	h := sha256.New()
	lib := t.runtime.Library()
	for _, part := range []string{t.plain.Hash(), hex.EncodeToString(hash(t.ready)), lib.Version, lib.Variant, t.device, processor()} {
		fmt.Fprintf(h, "%d:%s\n", len(part), part)
	}
	return filepath.Join(t.cacheDir, "selftest", hex.EncodeToString(h.Sum(nil)[:16])+".json")
}

func hash(b []byte) []byte {
	s := sha256.Sum256(b)
	return s[:]
}

func readVerdict(path string) (v verdict, ok bool) {
	data, err := os.ReadFile(path) //nolint:gosec // a path of ours
	return v, err == nil && json.Unmarshal(data, &v) == nil && v.Device != ""
}

func writeVerdict(path string, v verdict) error {
	if path == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // a cache, nothing secret
		return err
	}
	err := atomicfile.Write(path, 0o644, func(w io.Writer) error { return json.NewEncoder(w).Encode(v) })
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("the cache folder is read-only: %w", err)
	}
	return err
}

// measure runs both graphs, one after the other so that only one of them is in
// memory, and compares.
func (t *selfTest) measure(ctx context.Context) (verdict, error) {
	lib := t.runtime.Library()
	v := verdict{Device: t.device, Library: lib.Version + " " + lib.Variant, Processor: processor()}
	want, err := t.outputs(ctx, t.plain.Bytes(), ort.CPU)
	if err != nil {
		return v, err
	}
	got, err := t.outputs(ctx, t.ready, t.device)
	if err != nil {
		return v, err
	}
	v.Passed = true
	for i := range want {
		d, labels, voxels := t.compare(i, got[i], want[i])
		v.Difference, v.Labels, v.Voxels = max(v.Difference, d), v.Labels+labels, v.Voxels+voxels
	}
	// Two voxels are always allowed: a small window has fewer than 10,000.
	v.Passed = v.Difference <= t.tolerance() && v.Labels <= max(2, int(labelShare*float64(v.Voxels)))
	return v, nil
}

// window is the size that the test runs on, per array axis.
func (t *selfTest) window() [3]int { return t.m.testWindow(t.b.window) }

// testWindow is a window of a fixed size, and for a whole image in one window
// a size that common networks take, in the manifest's multiples.
func (m *Manifest) testWindow(w [3]int) [3]int {
	for d := range w {
		if w[d] != 0 {
			continue
		}
		w[d] = 1
		if d >= 3-m.Dimension {
			w[d] = (64 + m.Window.Multiple - 1) / m.Window.Multiple * m.Window.Multiple
		}
	}
	return w
}

// compare returns the largest difference as a share of max(1, largest |want|),
// and in how many voxels the decision differs.
func (t *selfTest) compare(output int, got, want []float32) (share float64, labels, voxels int) {
	share = difference(got, want)
	w := t.window()
	voxels = w[0] * w[1] * w[2]
	channels := len(want) / voxels / t.b.batch
	h := newHead(t.m, output, channels)
	for b := range t.b.batch {
		part := func(s []float32) []uint16 {
			v := slices.Clone(s[b*channels*voxels : (b+1)*channels*voxels])
			sc := &scores{channels: channels, n: voxels, sum: v}
			l := make([]uint16, voxels)
			_ = h.decide(context.Background(), sc, 0, voxels, l) // cannot fail without a context that ends
			return l
		}
		g, r := part(got), part(want)
		for i := range g {
			if g[i] != r[i] {
				labels++
			}
		}
	}
	return share, labels, voxels * t.b.batch
}
