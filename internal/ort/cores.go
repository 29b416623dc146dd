package ort

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Cores returns how many threads a session uses by default: the physical
// cores of the machine, but no more than this process may use (CPU affinity,
// the cgroup's CPU limit and GOMAXPROCS, all of which GOMAXPROCS reflects).
// A second thread on a core gains nothing for dense arithmetic.
func Cores() int {
	usable := runtime.GOMAXPROCS(0)
	if n := physicalCores("/sys/devices/system/cpu"); n > 0 {
		usable = min(usable, n)
	}
	return max(usable, 1)
}

// physicalCores counts the distinct sets of thread siblings below Linux's CPU
// folder; 0 when they cannot be read.
func physicalCores(dir string) int {
	files, err := filepath.Glob(filepath.Join(dir, "cpu[0-9]*", "topology", "thread_siblings_list"))
	if err != nil {
		return 0
	}
	cores := make(map[string]bool)
	for _, f := range files {
		b, err := os.ReadFile(f) //nolint:gosec // the kernel's own files
		if err != nil {
			return 0
		}
		cores[strings.TrimSpace(string(b))] = true
	}
	return len(cores)
}
