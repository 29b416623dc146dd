package cli

import (
	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/conf"
)

// selectionOptions are the app's for a configuration.
func selectionOptions(c conf.Selection) apps.SelectionOptions {
	cold := c.ColdStart
	if cold == 0 {
		cold = -1 // the option's 0 is its default
	}
	return apps.SelectionOptions{
		Model: c.Model, Strategy: c.Strategy, Seed: uint64(c.Seed), Sampling: c.Sampling, Flips: c.Flips, Passes: c.Passes, //nolint:gosec // not negative
		Aggregation: c.Aggregation, Budget: c.Budget, Control: c.Control, Lease: c.Lease, PerClient: c.PerClient, ColdStart: cold,
	}
}
