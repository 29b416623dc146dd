package apps

import (
	"context"
	"errors"
	"time"

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
	pick, err := s.Next(ctx, strategies.Request{Client: client, Params: params, Now: now})
	if errors.Is(err, strategies.ErrNone) {
		return &ordered.Map{}, nil
	}
	if err != nil {
		return nil, err
	}
	img, err := a.store.Image(pick.ID)
	if err != nil {
		return nil, err
	}
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

func (a *App) strategy(name string) (strategies.Strategy, bool) {
	for _, s := range a.strategies {
		if s.Name() == name {
			return s, true
		}
	}
	return nil, false
}
