package parallel_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging/parallel"
)

func TestForCoversOnce(t *testing.T) {
	for _, n := range []int{0, 1, 2, 7, 8, 9, 1000} {
		seen := make([]atomic.Int32, n)
		err := parallel.For(t.Context(), n, func(_ context.Context, from, to int) error {
			if from%parallel.Step(n) != 0 || to <= from {
				t.Errorf("n %d: range [%d, %d)", n, from, to)
			}
			for i := from; i < to; i++ {
				seen[i].Add(1)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := range seen {
			if c := seen[i].Load(); c != 1 {
				t.Errorf("n %d: index %d seen %d times", n, i, c)
			}
		}
	}
}

func TestForFailures(t *testing.T) {
	broken := errors.New("broken")
	err := parallel.For(t.Context(), 100, func(_ context.Context, from, _ int) error {
		if from == 0 {
			return broken
		}
		return nil
	})
	if !errors.Is(err, broken) {
		t.Errorf("error %v, want the function's", err)
	}
	err = parallel.For(t.Context(), 1, func(context.Context, int, int) error { panic("index") })
	if err == nil || !strings.Contains(err.Error(), "panic: index") {
		t.Errorf("error %v, want the panic", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = parallel.For(ctx, 5, func(context.Context, int, int) error { t.Error("called"); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
}
