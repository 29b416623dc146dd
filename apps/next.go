package apps

import (
	"context"
	"errors"
	"time"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/strategies"
)

// anonymous is the user of a server without accounts.
const anonymous = "admin"

// NextSample asks a strategy for the image to label next and returns it as the
// protocol does: id, what the strategy adds, path, then the image's info. The
// object is empty when nothing is left.
func (a *App) NextSample(ctx context.Context, strategy string, params *ordered.Map) (*ordered.Map, error) {
	s, ok := a.strategy(strategy)
	if !ok {
		return nil, fault.New(fault.NotFound, "there is no strategy %q", clip(strategy))
	}
	client := params.String("client_id")
	if client == "" {
		client = anonymous
	}
	now := time.Now()
	pick, img, err := a.pick(ctx, s, strategies.Request{Client: client, Params: params, Now: now})
	if errors.Is(err, strategies.ErrNone) {
		return &ordered.Map{}, nil
	}
	if err != nil {
		return nil, err
	}
	a.selection.control.picked(pick.ID, pick.Explanation, now)
	if err := a.store.MarkServed(pick.ID, s.Name(), client, now.Unix()); err != nil {
		a.log.Warn("serving an image could not be recorded", "err", err) // the sample is good all the same
	}
	out := ordered.Of("id", pick.ID).Merge(pick.Extra).Set("path", img.Files[0])
	// The reference shows the entry just written from the second time on.
	if served := img.Info.Sub("strategy"); served != nil {
		served.Set(s.Name(), ordered.Of("ts", now.Unix(), "client_id", client))
	}
	return out.Merge(img.Info), nil
}

// pick asks the strategy until it names an image that is still there: one may
// be deleted or found unreadable between the choice and the look at it.
func (a *App) pick(ctx context.Context, s strategies.Strategy, req strategies.Request) (strategies.Pick, datastore.Image, error) {
	var err error
	for range 10 {
		var pick strategies.Pick
		if pick, err = s.Next(ctx, req); err != nil {
			return strategies.Pick{}, datastore.Image{}, err
		}
		var img datastore.Image
		if img, err = a.usable(pick.ID); err == nil {
			return pick, img, nil
		}
	}
	return strategies.Pick{}, datastore.Image{}, err
}

func (a *App) strategy(name string) (strategies.Strategy, bool) {
	for _, s := range a.strategies {
		if s.Name() == name {
			return s, true
		}
	}
	return nil, false
}
