package strategies

import (
	"time"

	"github.com/voxloop/voxloop/internal/fault"
)

// Options tune an Index. The zero value is ready for use: no leases, no
// control picks, diversity below 5 labels.
type Options struct {
	// Lease is how long an image that was handed out is kept for its client.
	// 0: not at all.
	Lease time.Duration
	// PerClient is how many images a client may hold; beyond it the one held
	// longest is free again. 0 means 64.
	PerClient int
	// Control is the share of the picks that is drawn at random, for the
	// strategies that New makes. In [0, 1).
	Control float64
	// ColdStart is how many labelled images it takes until scores choose; below
	// it diversity does. 0 means 5, negative none.
	ColdStart int
	// Seed is that of control picks and of random order.
	Seed uint64
	// Passes and Aggregation, where set, are the only ones whose scores are
	// ranked: scores of others cannot be compared with them. Such observations
	// count as unscored.
	Passes      Passes
	Aggregation string
	// ScoreLabelled makes Wanted list labelled images too, for their features:
	// kinds that look for diversity measure distances from them, and features
	// of two versions cannot be compared.
	ScoreLabelled bool
	// FarOff is the robust distance of the fingerprint from which on an image
	// is flagged. 0 means 6, negative never.
	FarOff float64
}

func (o Options) withDefaults() Options {
	o.PerClient = orDefault(o.PerClient, 64)
	o.ColdStart = orDefault(o.ColdStart, 5)
	o.FarOff = orDefault(o.FarOff, 6)
	return o
}

// Validate reports the first option that makes no sense.
func (o Options) Validate() error {
	switch {
	case o.Lease < 0:
		return fault.New(fault.Invalid, "lease: %s; it must not be negative", o.Lease)
	case o.PerClient < 0:
		return fault.New(fault.Invalid, "leases per client: %d; it must not be negative", o.PerClient)
	case !(o.Control >= 0 && o.Control < 1):
		return fault.New(fault.Invalid, "control share: %g; it must lie in [0, 1)", o.Control)
	}
	return nil
}
