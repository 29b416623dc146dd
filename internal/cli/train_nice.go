package cli

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/voxloop/voxloop/internal/fault"
)

// lowerPriority makes this process give way to others. On Linux a priority
// belongs to a thread: those that are there are lowered one by one, and those
// that they start inherit it.
func lowerPriority(nice int) error {
	if nice == 0 {
		return nil
	}
	ids := []int{0}
	if entries, err := os.ReadDir("/proc/self/task"); err == nil {
		for _, e := range entries {
			if id, err := strconv.Atoi(e.Name()); err == nil {
				ids = append(ids, id)
			}
		}
	}
	for _, id := range ids {
		if err := unix.Setpriority(unix.PRIO_PROCESS, id, nice); err != nil && id == 0 {
			return fault.Wrap(fault.Unavailable, err, "--nice %d: the priority cannot be set", nice)
		}
	}
	return nil
}
