package ort_test

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/ort/orttest"
)

// signalStack is struct stack_t of the kernel on 64-bit machines.
type signalStack struct {
	base  uintptr
	flags int32
	_     int32
	size  uintptr
}

func currentSignalStack(t *testing.T) signalStack {
	t.Helper()
	var st signalStack
	if _, _, errno := unix.Syscall(unix.SYS_SIGALTSTACK, 0, uintptr(unsafe.Pointer(&st)), 0); errno != 0 {
		t.Fatal(errno)
	}
	return st
}

// TestSignalStackIsLeftAlone guards against the crash that tryDevice tells
// of: a session must not change the signal stack of the thread that makes it,
// and closing the last one must not unload the plugin, which would make the
// next session change it. It stands first in the first file of its package, so
// that the plugin is loaded under its eyes.
func TestSignalStackIsLeftAlone(t *testing.T) {
	model := readModel(t, "models", "hippocampus", "model.onnx")
	rt := orttest.Runtime(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := currentSignalStack(t)
	for _, device := range rt.Providers() {
		for i := range 2 {
			s, err := rt.NewSession(model, ort.SessionOptions{Device: device})
			if err != nil {
				t.Fatal(err)
			}
			if now := currentSignalStack(t); now != before {
				t.Errorf("%s, session %d: the thread's signal stack became %+v, was %+v", device, i, now, before)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if now := currentSignalStack(t); now != before {
				t.Errorf("%s, session %d closed: the thread's signal stack became %+v, was %+v", device, i, now, before)
			}
		}
	}
}

// rssMB returns the resident memory of this process.
func rssMB(t *testing.T) int {
	t.Helper()
	debug.FreeOSMemory()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kb >> 10
}

// TestMemoryReturns makes, runs and closes a session 20 times: the memory must
// not grow from the tenth to the last, and must be less than with the session
// open.
func TestMemoryReturns(t *testing.T) {
	model := readModel(t, "golden", "networks", "unet_res2_prelu", "model.onnx")
	in, out := []ort.Tensor{zeros(1, 1, 64, 64, 64)}, []ort.Tensor{zeros(1, 3, 64, 64, 64)}
	rt := orttest.Runtime(t)
	for _, device := range rt.Providers() {
		var opened, middle, last int
		for i := range 20 {
			s, err := rt.NewSession(model, ort.SessionOptions{Device: device})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Run(t.Context(), in, out); err != nil {
				t.Fatal(err)
			}
			opened = rssMB(t)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if last = rssMB(t); i == 9 {
				middle = last
			}
		}
		t.Logf("%s: %d MB with an open session, %d MB after 10 closed, %d MB after 20", device, opened, middle, last)
		if last > middle+8 {
			t.Errorf("%s: %d MB after 10 sessions, %d MB after 20", device, middle, last)
		}
		if last > opened-8 {
			t.Errorf("%s: %d MB with an open session, %d MB when it is closed", device, opened, last)
		}
	}
}
