package augment

import (
	"slices"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
)

// Severities is the number of grades of a corruption; 1 is the mildest.
const Severities = 5

// corruption is one kind of the robustness test-bed: what a value of the table
// means, the five values, and the transform that they make.
type corruption struct {
	name   string
	values [Severities]float64
	step   func(value float64) Step
}

// corruptions is the table of graded parameters. Intensities are in units of
// the channel's spread, the distance between its 1st and 99th percentile, and
// lengths in voxels: for blur, which is as wide in all directions, in voxels of
// the finest axis.
var corruptions = []corruption{
	{"noise", grades(0.02, 0.05, 0.10, 0.15, 0.25), func(v float64) Step { return Step{Noise: &Noise{sure, only(v)}} }},
	{"rician", grades(0.02, 0.05, 0.10, 0.15, 0.25), func(v float64) Step { return Step{Rician: &Rician{sure, only(v)}} }},
	{"blur", grades(0.5, 1, 1.5, 2.5, 4), func(v float64) Step {
		return Step{Blur: &Blur{Chance: sure, Sigma: only(v), Millimetres: true}}
	}},
	{"low_resolution", grades(0.8, 0.65, 0.5, 0.35, 0.25), func(v float64) Step {
		return Step{LowResolution: &LowResolution{Chance: sure, Zoom: only(v), Average: true}}
	}},
	{"brightness", grades(0.1, 0.2, 0.3, 0.4, 0.5), func(v float64) Step {
		return Step{Brightness: &Brightness{Chance: sure, Add: only(v)}}
	}},
	{"contrast", grades(0.8, 0.65, 0.5, 0.35, 0.2), func(v float64) Step {
		return Step{Contrast: &Contrast{Chance: sure, Factor: only(v)}}
	}},
	{"darken", grades(1.2, 1.5, 2, 2.5, 3.5), func(v float64) Step { return Step{Gamma: &Gamma{Chance: sure, Gamma: only(v)}} }},
	{"brighten", grades(1.2, 1.5, 2, 2.5, 3.5), func(v float64) Step { return Step{Gamma: &Gamma{Chance: sure, Gamma: only(1 / v)}} }},
	{"bias_field", grades(0.2, 0.4, 0.6, 0.9, 1.3), func(v float64) Step {
		return Step{BiasField: &BiasField{Chance: sure, Strength: only(v), Order: 3}}
	}},
	{"ghosting", grades(0.2, 0.4, 0.6, 0.8, 1), func(v float64) Step {
		return Step{Ghosting: &Ghosting{Chance: sure, Ghosts: [2]int{4, 4}, Intensity: only(v)}}
	}},
	{"spike", grades(0.1, 0.2, 0.4, 0.7, 1), func(v float64) Step {
		return Step{Spike: &Spike{sure, only(v), Range{0.05, 0.3}}}
	}},
	{"motion", grades(0.5, 1, 1.5, 2, 3), func(v float64) Step {
		return Step{Motion: &Motion{Chance: sure, Shift: only(v), Moves: [2]int{4, 4}}}
	}},
	{"style", grades(0.2, 0.4, 0.6, 0.9, 1.3), func(v float64) Step {
		return Step{Style: &Style{Chance: sure, Strength: only(v), Knots: 7}}
	}},
}

var sure = Chance{Probability: 1}

func only(v float64) Range { return Range{v, v} }

func grades(v ...float64) [Severities]float64 { return [Severities]float64(v) }

// Kinds returns the names of the corruptions, in the table's order.
func Kinds() []string {
	var names []string
	for _, c := range corruptions {
		names = append(names, c.name)
	}
	return names
}

// Graded returns the transform that a corruption of a severity is, and the
// table's value. An unknown kind and a severity outside 1..5 are Invalid.
func Graded(kind string, severity int) (Step, float64, error) {
	i := slices.IndexFunc(corruptions, func(c corruption) bool { return c.name == kind })
	if i < 0 {
		return Step{}, 0, fault.New(fault.Invalid, "the corruption %q is not one of %s", kind, strings.Join(Kinds(), ", "))
	}
	if severity < 1 || severity > Severities {
		return Step{}, 0, fault.New(fault.Invalid, "the severity %d is not within 1..%d", severity, Severities)
	}
	v := corruptions[i].values[severity-1]
	return corruptions[i].step(v), v, nil
}
