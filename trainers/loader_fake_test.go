package trainers

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
)

// fakeCases is a Data of made-up cases: voxel i of case k is 1000·k + i/1000, the
// labels a box of class 1 and fewer voxels of class 2.
type fakeCases struct {
	spec Spec
	size func(k int) [3]int

	mu     sync.Mutex
	loads  map[string]int
	broken map[string]string // reason by id
	closed int
}

func newFakeCases() *fakeCases {
	return &fakeCases{
		spec: Spec{Channels: 1, Window: [3]int{8, 8, 8}, Dimension: 3, Classes: []Class{{1, "a", 1}, {2, "b", 2}}, Outputs: 3},
		size: func(k int) [3]int { return [3]int{12 + k, 14, 16 - k} }, loads: map[string]int{}, broken: map[string]string{},
	}
}

func fakeID(k int) string { return fmt.Sprintf("case%02d", k) }

func fakeList(n int) []Case {
	var out []Case
	for k := range n {
		out = append(out, Case{ID: fakeID(k), Role: Train})
	}
	return out
}

func (d *fakeCases) Spec() Spec { return d.spec }

func (d *fakeCases) Load(ctx context.Context, c Case) (*Sample, error) {
	d.mu.Lock()
	d.loads[c.ID]++
	why := d.broken[c.ID]
	d.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap(fault.Canceled, err, "stopped")
	}
	if why != "" {
		return nil, fault.New(fault.Invalid, "case %s: %s", c.ID, why)
	}
	var k int
	if _, err := fmt.Sscanf(c.ID, "case%d", &k); err != nil {
		return nil, err
	}
	size := d.size(k)
	n := size[0] * size[1] * size[2]
	s := &Sample{ID: c.ID, Channels: d.spec.Channels, Size: size, Spacing: [3]float64{1, 1, 1}}
	s.Image, s.Labels = make([]float32, d.spec.Channels*n), make([]uint16, n)
	for i := range s.Image {
		s.Image[i] = float32(1000*k) + float32(i)/1000
	}
	for i := range s.Labels {
		x, y, z := i/(size[1]*size[2]), i/size[2]%size[1], i%size[2]
		switch {
		case x < 3 && y < 3 && z < 3:
			s.Labels[i] = 1
		case x == size[0]-1 && y == size[1]-1 && z < 2:
			s.Labels[i] = 2
		}
	}
	return s, nil
}

func (d *fakeCases) Score(context.Context, *onnx.Model, []Case, func(Score)) error { return nil }

func (d *fakeCases) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed++
	return nil
}

func (d *fakeCases) loaded(id string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.loads[id]
}

func newTestLoader(t testing.TB, o LoaderOptions) *Loader {
	t.Helper()
	l, err := NewLoader(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// content copies a batch, which lives until the next one.
func content(t testing.TB, l *Loader, step int) Batch {
	t.Helper()
	b, err := l.Next(t.Context(), step)
	if err != nil {
		t.Fatal(err)
	}
	if b.Step != step {
		t.Fatalf("step %d, want %d", b.Step, step)
	}
	return Batch{
		Step: step, X: append([]float32(nil), b.X...), Labels: append([]float32(nil), b.Labels...), Cases: append([]string(nil), b.Cases...),
	}
}
