package trainers

import (
	"errors"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// processAttributes puts the program into a group of its own and lets the
// kernel kill it when the thread that started it ends, that is when this
// process is killed.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// The I/O class "best effort" at its lowest level: ioprio_set(2).
const (
	ioWhoProcess = 1
	ioLowest     = 2<<13 | 7
)

// lowerThread lowers the priority of the calling thread, which what it starts
// inherits. Niceness and I/O class belong to threads on Linux. Where the system
// refuses, the program runs at our own priority.
func lowerThread(nice int) {
	if nice < 0 {
		return
	}
	if p, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil {
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, min(20-p+nice, 19)) // the system call returns 20 - niceness
	}
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ioWhoProcess, 0, ioLowest)
}

// oomScore makes the kernel choose a training, not the server, when memory runs
// out (proc(5), oom_score_adj: -1000 … 1000).
const oomScore = 500

func lowerProcess(pid, _ int) {
	_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte(strconv.Itoa(oomScore)), 0)
}

// awaitExit returns true when a child has ended and is still to be waited for.
func awaitExit(pid int) bool {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err == nil
		}
	}
}
