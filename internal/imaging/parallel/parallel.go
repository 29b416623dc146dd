// Package parallel cuts work over consecutive indices (voxels, lines, planes)
// into ranges that run on all cores. It is below every package of voxel maths.
package parallel

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"golang.org/x/sync/errgroup"
)

// chunksPerWorker cuts work finer than the number of cores, so that one slow
// core does not hold up the rest.
const chunksPerWorker = 4

// For calls fn for consecutive ranges [from, to) that cover [0, n), on all
// cores, and waits. The first error stops the others by their context. A panic
// becomes an error: it must not end a server.
func For(ctx context.Context, n int, fn func(ctx context.Context, from, to int) error) error {
	step := Step(n)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for from := 0; from < n; from += step {
		g.Go(func() (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
				}
			}()
			if err := ctx.Err(); err != nil {
				return err
			}
			return fn(ctx, from, min(from+step, n))
		})
	}
	return g.Wait()
}

// Step returns the length of the ranges that For cuts [0, n) into: range i
// begins at i*Step(n). It is at least 1.
func Step(n int) int {
	parts := runtime.GOMAXPROCS(0) * chunksPerWorker
	return max(1, (n+parts-1)/parts)
}
