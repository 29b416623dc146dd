package design

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
)

// Options are the wishes and limits of a plan. The zero value takes what the
// data and the defaults give.
type Options struct {
	Type            string  // Plain or Residual; "": Plain
	Features        int     // of the first encoder stage; 0: as many as the budget allows
	Dropout         float64 // share of values that Dropout nodes drop in training; 0: none
	DeepSupervision bool

	Memory  int64   // bytes that a training step may take; 0: 4 GiB
	Minutes float64 // of training that the network is made for; 0: 30
	Cores   int     // that train; 0: 1

	Patch   []int      // voxels of a patch and of the window of inference along x, y, z (2-D: of the slice); nil: from the data
	Spacing [3]float64 // mm along x, y, z; 0: from the data
}

// Defaults of Options.
const (
	DefaultMemory  = 4 << 30
	DefaultMinutes = 30.0
)

// Plan is a network with what belongs to it.
type Plan struct {
	Network   Network    `json:"network"`
	Spacing   [3]float64 `json:"spacing"` // mm; 0: the image's own
	Patch     []int      `json:"patch"`   // x, y, z, or the two axes of a slice
	SliceAxis int        `json:"slice_axis,omitempty"`
	Batch     int        `json:"batch"`
	Budget    Budget     `json:"budget"`
	Cost      Cost       `json:"cost"`
	Notes     []string   `json:"notes,omitempty"` // what was chosen, and why
}

// Budget is what a plan had to keep to.
type Budget struct {
	Memory  int64         `json:"bytes"`
	Minutes float64       `json:"minutes"`
	Cores   int           `json:"cores"`
	Step    time.Duration `json:"step_ns"` // that a training step may take
}

// stepsPer is the number of training steps that a budget of minutes should
// allow: longer trainings get more steps, but larger networks, too.
func stepsPer(minutes float64) float64 { return 1000 * math.Sqrt(minutes) }

func (o Options) budget() Budget {
	b := Budget{Memory: o.Memory, Minutes: o.Minutes, Cores: max(o.Cores, 1)}
	if b.Memory == 0 {
		b.Memory = DefaultMemory
	}
	if b.Minutes == 0 {
		b.Minutes = DefaultMinutes
	}
	b.Step = time.Duration(b.Minutes * float64(time.Minute) / stepsPer(b.Minutes))
	return b
}

// minutesFor is the inverse of budget: the least budget whose steps may take
// that long.
func minutesFor(step time.Duration) float64 {
	m := 1000 * step.Minutes() // = √minutes
	return m * m
}

func (o Options) check() error {
	wrong := func(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }
	switch {
	case o.Type != "" && o.Type != Plain && o.Type != Residual:
		return wrong("network type %q is neither %s nor %s", o.Type, Plain, Residual)
	case o.Features < 0 || o.Features > maxFeatures:
		return wrong("%d features are not within 1..%d", o.Features, maxFeatures)
	case !(o.Dropout >= 0 && o.Dropout < 1):
		return wrong("dropout %g is not from 0 to below 1", o.Dropout)
	case o.Memory < 0 || o.Cores < 0:
		return wrong("memory and cores must not be negative")
	case !(o.Minutes >= 0 && o.Minutes <= 1e6):
		return wrong("%g minutes are no time budget", o.Minutes)
	case slices.ContainsFunc(o.Patch, func(n int) bool { return n < 1 || n > maxPatch }):
		return wrong("patch %v: sizes must be within 1..%d", o.Patch, maxPatch)
	case slices.ContainsFunc(o.Spacing[:], func(s float64) bool { return !(s >= 0 && s <= 1000) }):
		return wrong("spacing %v: voxel sizes in mm must be within 0..1000", o.Spacing)
	}
	return nil
}

const (
	maxFeatures = 320 // nnU-Net's bound of a 3-D network
	maxPatch    = 4096
)

// NewPlan applies nnU-Net's rules to a fingerprint, with a budget of time in
// place of a GPU's memory. Errors are of kind fault.Invalid and say what is the
// smallest that is possible.
func NewPlan(f *Fingerprint, o Options) (*Plan, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	p := &planner{f: f, o: o, budget: o.budget()}
	p.grid()
	if err := p.patches(); err != nil {
		return nil, err
	}
	return p.search()
}

// planner holds the work of one plan.
type planner struct {
	f      *Fingerprint
	o      Options
	budget Budget

	target  [3]float64 // mm
	spacing [3]float64 // as the manifest says it: 0 keeps the image's
	axes    []int      // spatial axes of the network among x, y, z
	median  []float64  // size in voxels of the target spacing, along axes
	fixed   []int      // patch that the caller wants
	notes   []string
}

func (p *planner) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

// Anisotropy from which on nnU-Net treats the coarse axis apart, and that from
// which on slices are taken one by one.
const (
	coarseRatio = 3
	sliceRatio  = 10
	fewSlices   = 4 // voxels; with so few there is nothing to be seen across slices
)

// grid chooses the target spacing, the axes and the median size.
func (p *planner) grid() {
	f := p.f
	p.target = f.Spacing
	coarse, fine := extremes(f.Spacing)
	if f.Spacing[coarse] > coarseRatio*f.Spacing[fine] && f.Size[coarse]*coarseRatio < smallestOther(f.Size, coarse) {
		_, all := f.along(coarse)
		p.target[coarse] = max(quantile(all, 0.1), middle(f.Spacing))
	}
	for k := range 3 {
		if p.o.Spacing[k] > 0 {
			p.target[k] = p.o.Spacing[k]
		}
	}
	p.spacing = p.target
	if f.OneSpacing && p.o.Spacing == ([3]float64{}) {
		p.spacing = [3]float64{}
		p.note("all images share one voxel size: they are not resampled")
	}
	p.dimension(coarse, fine)
	for _, k := range p.axes {
		p.median = append(p.median, p.medianSize(k))
	}
}

// dimension decides between a volume and slices.
func (p *planner) dimension(coarse, fine int) {
	f := p.f
	p.axes = []int{0, 1, 2}
	depth := f.Size[coarse] * f.Spacing[coarse] / p.target[coarse]
	if thin := thinnest(f.Size); f.Size[thin] < fewSlices {
		coarse, depth = thin, f.Size[thin]
	}
	switch {
	case depth < fewSlices || p.target[coarse] > sliceRatio*p.target[fine]:
		p.axes = slices.Delete(p.axes, coarse, coarse+1)
		p.spacing[coarse] = 0
		p.note("a 2-D network works slice by slice across %s: %.3g slices of %.3g mm", axisNames[coarse], f.Size[coarse], f.Spacing[coarse])
	case p.target[coarse] < f.Spacing[coarse] && p.o.Spacing[coarse] == 0:
		p.note("slices are thick (%.3g mm beside %.3g mm): the 10th percentile of their thickness, %.3g mm, is the target along that axis",
			f.Spacing[coarse], f.Spacing[fine], p.target[coarse])
	}
}

// medianSize is the median over the cases of their size in voxels of the
// target spacing.
func (p *planner) medianSize(k int) float64 {
	var v []float64
	for _, c := range p.f.Cases {
		v = append(v, math.Round(float64(c.Cropped[k])*c.Spacing[k]/p.target[k]))
	}
	return max(quantile(v, 0.5), 1)
}

// extremes returns the axes with the largest and the smallest spacing; the last
// and the first of equal ones.
func extremes(s [3]float64) (coarse, fine int) {
	for k := range s {
		if s[k] >= s[coarse] {
			coarse = k
		}
		if s[k] < s[fine] {
			fine = k
		}
	}
	return coarse, fine
}

func thinnest(size [3]float64) int {
	k := 0
	for i, n := range size {
		if n <= size[k] {
			k = i
		}
	}
	return k
}

func smallestOther(size [3]float64, not int) float64 {
	small := math.Inf(1)
	for k, n := range size {
		if k != not {
			small = min(small, n)
		}
	}
	return small
}

func middle(s [3]float64) float64 {
	slices.Sort(s[:])
	return s[1]
}
