package strategies

import "context"

// First picks the unlabelled image whose id comes first in byte order.
type First struct{ index *Index }

// Name returns "first".
func (First) Name() string { return "first" }

// Description returns the text that clients show, as MONAI Label words it.
func (First) Description() string { return "Get First Sample" }

// Next returns the first unlabelled image.
func (f First) Next(ctx context.Context, req Request) (Pick, error) {
	return f.index.pickEnd(ctx, req, f.index.smallest, func(a, b string) bool { return a < b })
}

// Last picks the unlabelled image whose id comes last in byte order.
type Last struct{ index *Index }

// Name returns "last".
func (Last) Name() string { return "last" }

// Description returns the text that clients show, as MONAI Label words it.
func (Last) Description() string { return "Get Last Sample" }

// Next returns the last unlabelled image.
func (l Last) Next(ctx context.Context, req Request) (Pick, error) {
	return l.index.pickEnd(ctx, req, l.index.largest, func(a, b string) bool { return a > b })
}

// pickEnd returns the image at one end of those that are free or held by the
// client itself.
func (x *Index) pickEnd(ctx context.Context, req Request, end func() (*candidate, bool), before func(a, b string) bool) (Pick, error) {
	if err := ctx.Err(); err != nil {
		return Pick{}, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	now := req.clock()
	x.expire(now)
	best, ok := end()
	for _, l := range x.leases.clients[req.Client] {
		if !ok || before(l.c.id, best.id) {
			best, ok = l.c, true
		}
	}
	if !ok {
		return Pick{}, x.none()
	}
	x.lend(best, req.Client, now)
	return Pick{ID: best.id}, nil
}
