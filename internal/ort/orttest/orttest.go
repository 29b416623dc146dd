// Package orttest gives tests the ONNX Runtime of this machine.
package orttest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/testkit"
)

// installTime bounds the download on a first run.
const installTime = 8 * time.Minute

var runtime = sync.OnceValues(func() (*ort.Runtime, error) {
	ctx, cancel := context.WithTimeout(context.Background(), installTime)
	defer cancel()
	l, err := ort.Ensure(ctx, ort.InstallOptions{})
	if err != nil {
		return nil, err
	}
	return ort.Open(l)
})

// Runtime returns the machine's default ONNX Runtime, installed on first need
// and loaded once for all tests of the process. Where that is impossible the
// test is skipped with the reason, or fails when CI=true.
func Runtime(t testing.TB) *ort.Runtime {
	t.Helper()
	rt, err := runtime()
	if err != nil {
		testkit.SkipOrFail(t, "ONNX Runtime is not available: "+err.Error())
	}
	return rt
}
