package trainers

import (
	"cmp"
	"hash/fnv"
	"math"

	"github.com/voxloop/voxloop/internal/fault"
)

// WithRoles returns the cases with the roles that a configuration gives them:
// with Folds the subjects of Fold validate, else a ValSplit of all subjects. A
// subject's place depends on its name alone. All cases of a subject have one
// role. Where a split leaves nothing to train on, nothing validates.
func WithRoles(cases []Case, c Config) ([]Case, error) {
	out := append([]Case(nil), cases...)
	share := cmp.Or(c.ValSplit, defaultValSplit)
	training := 0
	for i := range out {
		p := placeOf(cmp.Or(out[i].Subject, out[i].ID))
		out[i].Role = Train
		if c.Folds > 1 && int(p*float64(c.Folds)) == c.Fold || c.Folds <= 1 && p < share {
			out[i].Role = Validate
		} else {
			training++
		}
	}
	if len(out) == 0 {
		return nil, fault.New(fault.Invalid, "there are no labelled images to train on")
	}
	if training == 0 {
		for i := range out {
			out[i].Role = Train
		}
	}
	return out, nil
}

func placeOf(subject string) float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(subject)) // never fails
	return float64(h.Sum64()>>11) / math.Exp2(53)
}
