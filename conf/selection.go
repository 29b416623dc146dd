package conf

import (
	"slices"
	"strings"
	"time"
)

// Selection says how images are scored and which is handed out next.
type Selection struct {
	Strategy    string        `mapstructure:"strategy"`    // shown to clients first; empty: random
	Model       string        `mapstructure:"model"`       // whose uncertainty counts; empty: the app's first
	Sampling    string        `mapstructure:"sampling"`    // tta, mc, ensemble, single
	Flips       []string      `mapstructure:"flips"`       // mirrorings of tta; empty: all
	Passes      int           `mapstructure:"passes"`      // of mc
	Aggregation string        `mapstructure:"aggregation"` // foreground, top, patch, class, whole
	Budget      float64       `mapstructure:"budget"`      // share of the time for scoring in the background; 0: none
	Control     float64       `mapstructure:"control"`     // share of the picks that is drawn at random
	Lease       time.Duration `mapstructure:"lease"`       // how long an image is kept for the client that got it; 0: not
	PerClient   int           `mapstructure:"per_client"`  // images that a client may hold
	ColdStart   int           `mapstructure:"cold_start"`  // labels that it takes until scores choose
	Seed        int64         `mapstructure:"seed"`
}

var (
	samplings    = []string{"tta", "mc", "ensemble", "single"}
	aggregations = []string{"foreground", "top", "patch", "class", "whole"}
)

func defaultSelection() Selection {
	return Selection{
		Sampling: "tta", Passes: 10, Aggregation: "foreground", Budget: 0.25, Control: 0.1, Lease: 30 * time.Minute, PerClient: 8, ColdStart: 5,
	}
}

// checkSelection looks at the values; names of strategies and models are
// reported by the app.
func (c *Config) checkSelection() error {
	s := c.Selection
	if err := oneOf("selection.sampling", s.Sampling, samplings); err != nil {
		return err
	}
	if err := oneOf("selection.aggregation", s.Aggregation, aggregations); err != nil {
		return err
	}
	for i, f := range s.Flips {
		if strings.Trim(f, "xyz") != "" || slices.Contains(s.Flips[:i], f) {
			return bad("selection.flips", "%q is no set of the axes x, y and z, or stands there twice", f)
		}
	}
	switch {
	case s.Passes < 2 || s.Passes > 64:
		return bad("selection.passes", "%d is not within 2..64", s.Passes)
	case !(s.Budget >= 0 && s.Budget <= 1):
		return bad("selection.budget", "%g is not within 0..1", s.Budget)
	case !(s.Control >= 0 && s.Control < 1):
		return bad("selection.control", "%g is not within [0, 1)", s.Control)
	case s.Lease < 0:
		return bad("selection.lease", "%s is negative", s.Lease)
	case s.PerClient < 1:
		return bad("selection.per_client", "%d is not at least 1", s.PerClient)
	case s.ColdStart < 0:
		return bad("selection.cold_start", "%d is negative", s.ColdStart)
	case s.Seed < 0:
		return bad("selection.seed", "%d is negative", s.Seed)
	}
	return nil
}
