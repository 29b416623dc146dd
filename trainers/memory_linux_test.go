package trainers

import (
	"os"
	"path/filepath"
	"testing"
)

// TestFreeMemory: what is free is the least of what the system and every control
// group around the process leave.
func TestFreeMemory(t *testing.T) {
	root := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want int64) {
		t.Helper()
		if got := freeMemoryBelow(root); got != want {
			t.Errorf("%d bytes instead of %d", got, want)
		}
	}
	expect(0)
	write("proc/meminfo", "MemTotal:  9000 kB\nMemFree:  10 kB\nMemAvailable:   5000 kB\n")
	expect(5000 * 1024)
	write("proc/self/cgroup", "0::/outer/inner\n")
	write("sys/fs/cgroup/outer/inner/memory.max", "max\n")
	write("sys/fs/cgroup/outer/inner/memory.current", "1000\n")
	expect(5000 * 1024)
	write("sys/fs/cgroup/outer/memory.max", "3000000\n")
	write("sys/fs/cgroup/outer/memory.current", "2500000\n")
	write("sys/fs/cgroup/outer/memory.stat", "anon 7\ninactive_file 100000\n")
	expect(600_000)
	write("sys/fs/cgroup/outer/inner/memory.max", "2000\n")
	expect(1000)
	write("sys/fs/cgroup/outer/inner/memory.current", "2500\n")
	expect(1) // nothing is left, which is not "unknown"
	if freeMemory() <= 0 {
		t.Error("this machine's memory cannot be told")
	}
}
