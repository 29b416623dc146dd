package transform

import (
	"context"

	"github.com/voxloop/voxloop/internal/imaging/parallel"
)

// Parallel calls fn for consecutive ranges [from, to) that cover [0, n), on
// all cores, and waits: see parallel.For.
func Parallel(ctx context.Context, n int, fn func(ctx context.Context, from, to int) error) error {
	return parallel.For(ctx, n, fn)
}
