package trainers

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// Cases that do not fit into memory are read from the disk, and only those that
// fit there neither are prepared again. No file has a name, and what comes back
// is the case.
func TestCacheSpills(t *testing.T) {
	const each = 6000 // bytes of a case
	tests := []struct {
		name         string
		memory, disk int64
		free         int64
		loads        []int // of four cases in three passes
	}{
		{"one in memory, two on the disk", each, 2 * each, 1 << 50, []int{1, 1, 1, 3}},
		{"all on the disk", -1, 4 * each, 1 << 50, []int{1, 1, 1, 1}},
		{"no disk", each, -1, 1 << 50, []int{1, 3, 3, 3}},
		{"the disk is nearly full", each, 4 * each, diskReserve + 2*each - 1, []int{1, 1, 1, 1}},
		{"the disk is full", each, 4 * each, diskReserve + each - 1, []int{1, 3, 3, 3}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data := newFakeCases()
			data.size = func(int) [3]int { return [3]int{10, 10, 10} }
			dir := t.TempDir()
			c := NewCache(data, tt.memory)
			c.Spill(filepath.Join(dir, "absent", "work"), tt.disk)
			if c.disk != nil {
				c.disk.free = func(at string) int64 {
					if at != dir {
						t.Errorf("the disk of %s is asked", at)
					}
					return tt.free
				}
			}
			for range 3 {
				for k := range 4 {
					got, err := c.Load(t.Context(), Case{ID: fakeID(k), Role: Train})
					if err != nil {
						t.Fatal(err)
					}
					want, err := newFakeCasesOf(data.size).Load(t.Context(), Case{ID: fakeID(k)})
					if err != nil || !reflect.DeepEqual(got, want) {
						t.Fatalf("case %d is another one (%v)", k, err)
					}
				}
			}
			for k, want := range tt.loads {
				if n := data.loaded(fakeID(k)); n != want {
					t.Errorf("case %d was loaded %d times, want %d", k, n, want)
				}
			}
			if c.Used() > max(tt.memory, 0) {
				t.Errorf("%d bytes of memory are used", c.Used())
			}
			if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
				t.Errorf("files are left: %v, %v", files, err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// newFakeCasesOf are cases of a size that count their loads apart.
func newFakeCasesOf(size func(int) [3]int) *fakeCases {
	d := newFakeCases()
	d.size = size
	return d
}

// A folder that takes no files costs nothing but time.
func TestCacheSpillsNowhere(t *testing.T) {
	data := newFakeCases()
	c := NewCache(data, -1)
	c.Spill(t.TempDir(), 1<<30)
	c.disk.dir = filepath.Join(t.TempDir(), "absent")
	for range 2 {
		if _, err := c.Load(t.Context(), Case{ID: fakeID(0), Role: Train}); err != nil {
			t.Fatal(err)
		}
	}
	if n := data.loaded(fakeID(0)); n != 2 || c.disk.used != 0 {
		t.Errorf("loaded %d times, %d bytes on the disk", n, c.disk.used)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
