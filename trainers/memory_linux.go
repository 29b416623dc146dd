package trainers

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// freeMemory is how many bytes this process may still take: what the system
// calls available (proc(5), MemAvailable) and what its control groups leave
// (cgroups(7), version 2); 0 when neither can be read.
func freeMemory() int64 {
	return freeMemoryBelow("/")
}

func freeMemoryBelow(root string) int64 {
	free := available(filepath.Join(root, "proc", "meminfo"))
	group, err := os.ReadFile(filepath.Join(root, "proc", "self", "cgroup")) //nolint:gosec // the kernel's
	if err != nil {
		return free
	}
	_, path, ok := strings.Cut(strings.TrimSpace(string(group)), "0::")
	if !ok {
		return free
	}
	top := filepath.Join(root, "sys", "fs", "cgroup")
	for dir := filepath.Join(top, path); len(dir) >= len(top); dir = filepath.Dir(dir) {
		limit, used := kernelNumber(filepath.Join(dir, "memory.max")), kernelNumber(filepath.Join(dir, "memory.current"))
		if limit <= 0 {
			continue
		}
		// The page cache of the group is counted as used, but gives way.
		left := limit - used + numberAfter(filepath.Join(dir, "memory.stat"), "inactive_file")
		if left = max(left, 1); free == 0 || left < free {
			free = left
		}
	}
	return free
}

// available reads the line MemAvailable, in kB.
func available(path string) int64 { return numberAfter(path, "MemAvailable:") * 1024 }

// kernelNumber reads a file that holds one number; 0 for anything else ("max").
func kernelNumber(path string) int64 {
	data, err := os.ReadFile(path) //nolint:gosec // the kernel's
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(string(bytes.TrimSpace(data)), 10, 64)
	return n
}

// numberAfter reads the number after a key that begins a line; 0 when it is absent.
func numberAfter(path, key string) int64 {
	data, err := os.ReadFile(path) //nolint:gosec // the kernel's
	if err != nil {
		return 0
	}
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		if f := strings.Fields(s.Text()); len(f) >= 2 && f[0] == key {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n
		}
	}
	return 0
}
