// Package strategies chooses which image an annotator labels next.
//
// A strategy looks at an Index: the images that are unlabelled and not
// quarantined, what models have shown of them (observations), and who has been
// given which (leases), kept current by events instead of a scan per request.
// An image is labelled once it has a final label. Times are Unix seconds.
//
// New makes the strategies that learn from observations; Builtin those that
// need none. Everything is repeatable: the same seeds and events give the same
// picks.
package strategies

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/voxloop/voxloop/internal/ordered"
)

// ErrNone means that no unlabelled image is left.
var ErrNone = errors.New("no unlabelled image is left")

// HeldError means that every unlabelled image is held by other clients. It is
// an ErrNone.
type HeldError struct {
	Until time.Time // when the first lease ends
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("all unlabelled images are handed out, one until %s", e.Until.Format(time.TimeOnly))
}

// Is makes the error an ErrNone.
func (*HeldError) Is(target error) bool { return target == ErrNone }

// Request asks for the next image.
type Request struct {
	Client string       // who asks; may be empty, which is a client like any other
	Params *ordered.Map // what the client sent along; may be nil
	Now    time.Time    // zero means the present moment
}

func (r Request) unix() int64 {
	if r.Now.IsZero() {
		return time.Now().Unix()
	}
	return r.Now.Unix()
}

// Pick is a strategy's answer. Extra holds what clients see beside the id, in
// order (random: "weight"; those of New: "explanation"); it is nil when there
// is nothing to add.
type Pick struct {
	ID          string
	Extra       *ordered.Map
	Explanation *Explanation // nil for random, first and last
}

// Strategy chooses the next image. It may be used from many goroutines at
// once. Next returns ErrNone when no image is left, and the context's error
// when ctx has ended.
//
// Where the index has leases, a client gets another image each time it asks
// (first and last: the same until it is labelled), never one that another
// client holds, and when no other is left the one of its own that it has held
// longest.
type Strategy interface {
	Name() string
	Description() string
	Next(ctx context.Context, req Request) (Pick, error)
}

// Batcher is a Strategy that chooses several images together, so that they
// differ from one another.
type Batcher interface {
	// Batch returns up to n different images. It returns fewer when fewer are
	// left, and ErrNone when none is.
	Batch(ctx context.Context, req Request, n int) ([]Pick, error)
}

// Configured is a Strategy with parameters.
type Configured interface {
	// Parameters returns kind, seed and what else the kind uses, in order.
	Parameters() *ordered.Map
}

// Builtin returns the strategies that every app offers, in the order in which
// clients show them: random, first, last.
func Builtin(x *Index) []Strategy {
	return []Strategy{NewRandom(x, nil), First{x}, Last{x}}
}
