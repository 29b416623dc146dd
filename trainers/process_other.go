//go:build !linux

package trainers

import "syscall"

// processAttributes puts the program into a group of its own. A program that
// outlives us sees the end of its standard input.
func processAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// lowerThread does nothing: niceness belongs to processes here.
func lowerThread(int) {}

func lowerProcess(pid, nice int) {
	if nice > 0 {
		_ = syscall.Setpriority(syscall.PRIO_PGRP, pid, min(nice, 19))
	}
}

// awaitExit returns false: here an end cannot be seen without taking it.
func awaitExit(int) bool { return false }
