package design

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
)

// form is how rich a network is.
type form struct {
	light    bool // no encoder at the full resolution, and a narrow decoder there
	features int  // of the first encoder stage
}

// forms stand in the order in which they are tried, the most costly first.
// Below leastFeatures a smaller patch is preferred to a smaller network.
var forms = []form{{false, 32}, {false, 24}, {false, 16}, {true, 32}, {true, 24}, {true, 16}, {true, 12}, {true, 8}}

const (
	leastFeatures = 16
	lightFeatures = 8 // of a light network's decoder at the full resolution
)

// Limits of a patch before the budget: nnU-Net's starting volume, and the size
// below which an axis is not shrunk for the budget's sake.
const (
	edge3D, edge2D   = 256, 2048
	least3D, least2D = 32, 64
)

// batches are the least and the largest number of patches of a step: slices of
// one volume are much alike, so there are more of them.
func (p *planner) batches() (least, most int) {
	if len(p.axes) == 2 {
		return 4, 16
	}
	return 2, 4
}

// patches sets the fixed patch, if the caller wants one.
func (p *planner) patches() error {
	if p.o.Patch == nil {
		return nil
	}
	if len(p.o.Patch) != len(p.axes) {
		return fault.New(fault.Invalid, "patch %s has %d sizes; this network has %d axes", sizeText(p.o.Patch), len(p.o.Patch), len(p.axes))
	}
	t := newTopology(p.o.Patch, p.mm())
	if len(t.strides) < 2 {
		return fault.New(fault.Invalid, "patch %s is too small for a U-Net: an axis needs at least %d voxels", sizeText(p.o.Patch), 3*smallestFeature)
	}
	if !slices.Equal(t.size, p.o.Patch) {
		return fault.New(fault.Invalid, "patch %s cannot be halved as often as the network does: sizes must be multiples of %s, such as %s",
			sizeText(p.o.Patch), sizeText(t.multiple()), sizeText(t.size))
	}
	p.fixed = p.o.Patch
	return nil
}

// mm is the target spacing along the network's axes.
func (p *planner) mm() []float64 {
	var mm []float64
	for _, k := range p.axes {
		mm = append(mm, p.target[k])
	}
	return mm
}

// first is the patch to begin with: a cube in millimetres, within the median
// size.
func (p *planner) first() []int {
	if p.fixed != nil {
		return p.fixed
	}
	mm := p.mm()
	edge, least, mean := float64(edge3D), least3D, 1.0
	if len(mm) == 2 {
		edge, least = edge2D, least2D
	}
	for _, s := range mm {
		mean *= math.Pow(s, 1/float64(len(mm)))
	}
	var size []int
	for k, s := range mm {
		n := int(math.Round(min(edge*mean/s, p.median[k])))
		size = append(size, max(n, min(least, 2*smallestFeature)))
	}
	return size
}

// search takes the largest patch that a decent network fits the budget with,
// then the richest network for it, then the largest batch.
func (p *planner) search() (*Plan, error) {
	size := p.first()
	batch, _ := p.batches()
	for {
		t := newTopology(size, p.mm())
		if len(t.strides) < 2 {
			return nil, fault.New(fault.Invalid, "the images are too small for a U-Net: %s voxels (median) where an axis needs at least %d", sizeText(t.size), 3*smallestFeature)
		}
		smaller := p.shrink(t)
		for _, f := range p.forms() {
			if f.features < leastFeatures && p.o.Features == 0 && smaller != nil {
				break // rather a smaller patch
			}
			if plan := p.plan(t, f, batch); p.fits(plan.Cost) {
				return p.widest(plan, t, f), nil
			}
		}
		if smaller == nil {
			return nil, p.tooSmall(t)
		}
		size = smaller
	}
}

// forms are those that the caller's wishes leave.
func (p *planner) forms() []form {
	if p.o.Features > 0 {
		return []form{{false, p.o.Features}, {true, p.o.Features}}
	}
	return forms
}

func (p *planner) fits(c Cost) bool { return c.Step <= p.budget.Step && c.Memory <= p.budget.Memory }

// shrink cuts the axis that covers most of the images by one step of the
// strides; nil when the patch is as small as it should get.
func (p *planner) shrink(t topology) []int {
	if p.fixed != nil {
		return nil
	}
	least := least3D
	if len(t.size) == 2 {
		least = least2D
	}
	axis, most := -1, 0.0
	for k, d := range t.multiple() {
		if cover := float64(t.size[k]) / p.median[k]; t.size[k]-d >= least && cover >= most {
			axis, most = k, cover
		}
	}
	if axis < 0 {
		return nil
	}
	size := slices.Clone(t.size)
	size[axis] -= t.multiple()[axis]
	return size
}

// widest raises the batch within the budget.
func (p *planner) widest(plan *Plan, t topology, f form) *Plan {
	_, most := p.batches()
	for n := plan.Batch + 1; n <= most; n++ {
		more := p.plan(t, f, n)
		if !p.fits(more.Cost) {
			break
		}
		plan = more
	}
	p.explain(plan, f)
	return plan
}

func (p *planner) explain(plan *Plan, f form) {
	if f.light {
		p.note("no encoder at the full resolution: the decoder works there with %d features", plan.Network.Stages[0].Features)
	}
	if p.fixed == nil {
		p.noteCover(plan.Patch)
	}
	plan.Notes = p.notes
}

// leastCover is the share of an image that a patch should see: below it nnU-Net
// works on coarser images first.
const leastCover = 0.25

// noteCover tells when a patch sees little of an image, and what voxel size
// would let it see enough.
func (p *planner) noteCover(patch []int) {
	rest := 1.0 // of the images' voxels per voxel of the patch
	for k, n := range patch {
		rest *= max(p.median[k]/float64(n), 1)
	}
	if rest*leastCover <= 1 {
		return
	}
	coarser := slices.Clone(p.mm())
	for rest*leastCover > 1 { // the finest axes grow first
		finest := slices.Min(coarser)
		for k := range coarser {
			if coarser[k] < finest*1.01 {
				coarser[k], rest = coarser[k]*1.02, rest/1.02
			}
		}
	}
	all := p.target
	for i, k := range p.axes {
		all[k] = coarser[i]
	}
	p.note("a patch sees little of an image (%s of %s voxels, median): coarser voxels, such as --spacing %.2g,%.2g,%.2g, or more time and memory let it see more",
		sizeText(patch), medianText(p.median), all[0], all[1], all[2])
}

// plan puts a network together.
func (p *planner) plan(t topology, f form, batch int) *Plan {
	kind := p.o.Type
	if kind == "" {
		kind = Plain
	}
	n := Network{Type: kind, Dimension: len(t.size), Channels: p.f.Channels, Classes: len(p.f.Classes) + 1, Heads: 1, Dropout: p.o.Dropout}
	for i := range t.strides {
		n.Stages = append(n.Stages, stage(kind, f, t, i))
	}
	if p.o.DeepSupervision {
		n.Heads = max(len(n.Stages)-2, 1)
	}
	plan := &Plan{Network: n, Spacing: p.spacing, Patch: t.size, Batch: batch, Budget: p.budget}
	if len(p.axes) == 2 {
		plan.SliceAxis = 3 - p.axes[0] - p.axes[1]
	}
	plan.Cost = n.Cost(batch, t.size, p.budget.Cores)
	return plan
}

// stage is stage i of a network: features double from stage to stage.
func stage(kind string, f form, t topology, i int) Stage {
	most := maxFeatures
	if len(t.size) == 2 {
		most = maxFeatures2D
	}
	s := Stage{Kernel: t.kernels[i], Stride: t.strides[i], Encode: 2, Decode: 2}
	depth := i
	if f.light {
		depth--
	}
	s.Features = min(f.features<<max(depth, 0), most)
	if kind == Residual {
		s.Decode = 1
		if i == 0 {
			s.Encode = 1
		}
	}
	if f.light && i == 0 {
		s.Features, s.Encode, s.Decode = min(lightFeatures, f.features), 0, 1
	}
	if i == len(t.strides)-1 {
		s.Decode = 0
	}
	return s
}

const maxFeatures2D = 512

// tooSmall says what the smallest network would take.
func (p *planner) tooSmall(t topology) error {
	all := p.forms()
	batch, _ := p.batches()
	plan := p.plan(t, all[len(all)-1], batch)
	c := plan.Cost
	what := fmt.Sprintf("the smallest network (%d features, patch %s, batch %d)", plan.Network.Stages[1].Features, sizeText(t.size), batch)
	if c.Memory > p.budget.Memory {
		return fault.New(fault.Invalid, "the memory budget of %s is too small: %s takes about %s", bytesText(p.budget.Memory), what, bytesText(c.Memory))
	}
	return fault.New(fault.Invalid, "the time budget of %.3g minutes is too small: %s takes about %s per step on %d cores, which makes sense from %.3g minutes on",
		p.budget.Minutes, what, c.Step.Round(time.Millisecond), p.budget.Cores, math.Ceil(minutesFor(c.Step)*10)/10)
}

func sizeText(size []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(size), " ", "×"), "[]")
}

func medianText(size []float64) string {
	var n []int
	for _, s := range size {
		n = append(n, int(math.Round(s)))
	}
	return sizeText(n)
}

func bytesText(n int64) string {
	if n < 1<<30 {
		return fmt.Sprintf("%.0f MB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
}
