// Package strategies chooses which image an annotator labels next.
//
// A strategy looks at an Index: the images that are unlabelled and not
// quarantined, kept current by events instead of a scan per request. An image
// is labelled once it has a final label. Times are Unix seconds.
package strategies

import (
	"context"
	"errors"
	"time"

	"github.com/voxloop/voxloop/internal/ordered"
)

// ErrNone means that no unlabelled image is left.
var ErrNone = errors.New("no unlabelled image is left")

// Request asks for the next image.
type Request struct {
	Client string       // who asks; may be empty
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
// order (random: "weight"); it is nil when there is nothing to add.
type Pick struct {
	ID    string
	Extra *ordered.Map
}

// Strategy chooses the next image. It may be used from many goroutines at
// once. Next returns ErrNone when no image is left, and the context's error
// when ctx has ended.
type Strategy interface {
	Name() string
	Description() string
	Next(ctx context.Context, req Request) (Pick, error)
}

// Builtin returns the strategies that every app offers, in the order in which
// clients show them: random, first, last.
func Builtin(x *Index) []Strategy {
	return []Strategy{NewRandom(x, nil), First{x}, Last{x}}
}
