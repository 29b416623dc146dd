package harmonize

import (
	"context"
	"maps"
	"math"
	"slices"
	"sync"

	"github.com/voxloop/voxloop/internal/fault"
)

// pool learns numbers of all foreground voxels of a set together: moments per
// image, and the ranks of all. Values that are whole numbers near zero, as CT
// has, are counted one by one; only other sets are read twice.
type pool struct {
	method  Method
	percent []float64 // wanted; nil needs no ranks
	to      [2]float64
	clip    bool

	images []moments
	sites  []string
	ranks  ranker

	mu    sync.Mutex
	whole []int // by value + wholeLimit; nil when some value is none
}

const wholeLimit = 1 << 16

var _ learner = (*pool)(nil)

func newPool(o FitOptions, n int) *pool {
	p := &pool{method: o.Method, to: o.To, clip: o.Clip, images: make([]moments, n), sites: make([]string, n)}
	switch o.Method {
	case CT:
		p.percent = ctPercent
	case Percentile:
		p.percent = o.Percent[:]
	case ZScore, ZScoreSite, Histogram, Nyul:
	}
	p.whole = make([]int, 2*wholeLimit+1)
	return p
}

func (p *pool) first(ctx context.Context, i int, s Sample, v []float32) error {
	m, err := momentsOf(ctx, v, nil)
	if err != nil {
		return err
	}
	p.images[i], p.sites[i] = m, s.Site
	if p.percent == nil || len(v) == 0 {
		return nil
	}
	if err := p.count(ctx, v); err != nil {
		return err
	}
	return p.ranks.countHigh(ctx, v)
}

// count counts whole numbers, until one value is none.
func (p *pool) count(ctx context.Context, v []float32) error {
	p.mu.Lock()
	still := p.whole != nil
	p.mu.Unlock()
	if !still {
		return nil
	}
	local := make([]int, 2*wholeLimit+1)
	err := blocks(ctx, v, func(v []float32) {
		for _, x := range v {
			k := int(min(max(x, -wholeLimit), wholeLimit))
			if float32(k) != x {
				still = false
				return
			}
			local[k+wholeLimit]++
		}
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	if !still {
		p.whole = nil
	}
	if p.whole != nil {
		for i, n := range local {
			p.whole[i] += n
		}
	}
	return err
}

func (p *pool) again() bool {
	if p.percent == nil || p.whole != nil {
		return false
	}
	p.ranks.want(p.percent)
	return true
}

func (p *pool) second(ctx context.Context, v []float32) error { return p.ranks.countLow(ctx, v) }

// percentile is exact in both cases.
func (p *pool) percentile(percent float64) float64 {
	if p.whole == nil {
		return p.ranks.percentile(percent)
	}
	lo, hi, part := place(percent, p.ranks.n)
	return between(p.wholeAt(lo), p.wholeAt(hi), part)
}

func (p *pool) wholeAt(rank int) float64 {
	k := 0
	for rank >= p.whole[k] {
		rank -= p.whole[k]
		k++
	}
	return float64(k - wholeLimit)
}

// merged adds up the moments of a site's images, in their order; "" means all.
func (p *pool) merged(site string) (m moments, images int) {
	for i, one := range p.images {
		if site == "" || p.sites[i] == site {
			m = m.merge(one)
			if one.n > 0 {
				images++
			}
		}
	}
	return m, images
}

func (p *pool) finish(m *Model) error {
	all, _ := p.merged("")
	if all.std() == 0 || math.IsInf(all.m2, 0) {
		return fault.New(fault.Invalid, "all foreground voxels of the set are %g: there is no scale to learn", all.mean)
	}
	var q []float64
	for _, x := range p.percent {
		q = append(q, p.percentile(x))
	}
	switch p.method {
	case CT:
		c := ctParams(q, all)
		m.CT = &c
	case Percentile:
		m.Percentile = &PercentileParams{Percent: [2]float64(p.percent), Values: [2]float64(q), To: p.to, Clip: p.clip}
	case ZScoreSite:
		return p.finishSites(m)
	case ZScore, Histogram, Nyul:
		m.ZScore = &ZScoreParams{all.mean, all.std()}
	}
	return nil
}

func (p *pool) finishSites(m *Model) error {
	names := make(map[string]bool)
	for _, s := range p.sites {
		if s != "" {
			names[s] = true
		}
	}
	for _, s := range slices.Sorted(maps.Keys(names)) {
		one, images := p.merged(s)
		if one.std() == 0 {
			return fault.New(fault.Invalid, "site %s: its images have no foreground, or a constant one: there is no scale to learn", s)
		}
		m.Sites = append(m.Sites, SiteParams{Site: s, Images: images, Mean: one.mean, Std: one.std()})
	}
	return nil
}
