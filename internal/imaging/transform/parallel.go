package transform

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

// Parallel calls fn for consecutive ranges [from, to) that cover [0, n), on
// all cores, and waits. The first error stops the others by their context. A
// panic becomes an error: it must not end a server.
func Parallel(ctx context.Context, n int, fn func(ctx context.Context, from, to int) error) error {
	workers := runtime.GOMAXPROCS(0)
	step := max(1, (n+workers*chunksPerWorker-1)/(workers*chunksPerWorker))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(workers)
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
