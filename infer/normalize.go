package infer

import (
	"context"
	"slices"

	"github.com/voxloop/voxloop/internal/imaging/harmonize"
	"github.com/voxloop/voxloop/internal/imaging/transform"
)

// normalize runs the channels' steps, in place. A step over all image channels
// waits until the earlier steps of all of them are done: the lists are then
// the same (checkScopes), so the steps are taken side by side. Missing images
// keep their fill value.
func (m *Manifest) normalize(ctx context.Context, p *prepared, present []bool) error {
	mask, err := m.nonzeroMask(ctx, p, present)
	if err != nil {
		return err
	}
	longest := 0
	for _, c := range m.Inputs {
		longest = max(longest, len(c.Normalize))
	}
	for k := range longest {
		var all transform.Channels
		var shared *Step
		for c := range m.Inputs {
			steps := m.Inputs[c].Normalize
			if k >= len(steps) || !present[c] {
				continue
			}
			ch := transform.Channels{p.channel(c)}
			if steps[k].scope() == scopeAll {
				all, shared = append(all, ch...), &steps[k]
				continue
			}
			if err := steps[k].run(ctx, ch, mask); err != nil {
				return m.Inputs[c].named(err)
			}
		}
		if shared != nil {
			if err := shared.run(ctx, all, mask); err != nil {
				return err
			}
		}
	}
	return nil
}

// run changes the channels. mask is the images' nonzero region where some step
// of the manifest needs it.
func (s *Step) run(ctx context.Context, c transform.Channels, mask []bool) error {
	switch {
	case s.Linear != nil:
		return c.Linear(ctx, s.Linear.From, s.Linear.To, s.Linear.Clip)
	case s.Clip != nil:
		return c.Clip(ctx, s.Clip[0], s.Clip[1])
	case s.MinMax != nil:
		return c.MinMax(ctx, s.MinMax.To)
	case s.ZScore != nil && s.ZScore.Voxels == voxelsForeground:
		return harmonize.StandardizeBy(ctx, c[0], harmonize.AboveMean)
	case s.ZScore != nil:
		return c.ZScore(ctx, s.ZScore.Voxels == voxelsNonzero)
	case s.Percentile != nil:
		return c.Percentile(ctx, s.Percentile.Percent, s.Percentile.To, s.Percentile.Clip)
	}
	return s.harmonize(ctx, c[0], mask) // these steps have no scope: all
}

// crop cuts all channels down to the box around the foreground of the images.
// Without any foreground the whole image stays.
func (m *Manifest) crop(p *prepared, present []bool, pool *buffers) {
	var images transform.Channels
	for c := range m.Inputs {
		if m.Inputs[c].Source.Kind == SourceImage && present[c] {
			images = append(images, p.channel(c))
		}
	}
	var margin [3]int
	for i, a := range m.order() {
		margin[i] = int(m.Crop.Margin.axis(a))
	}
	full := p.layout.Size
	start, box, ok := images.Foreground(full, float32(m.Crop.Above), margin)
	if start, box = transform.Within(start, box, full); !ok || slices.Equal(box[:], full[:]) {
		return
	}
	cut := p.layout.Box(start, box)
	data := pool.get(len(m.Inputs) * cut.Voxels())
	n := cut.Voxels()
	for c := range m.Inputs {
		transform.CopyPadded(data[c*n:(c+1)*n], box, p.channel(c), full, start, transform.PadConstant, 0)
	}
	pool.put(p.data)
	p.data, p.layout = data, cut
	p.frame = &transform.Frame{Size: full, Start: start}
}
