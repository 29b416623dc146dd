package infer

import (
	"context"
	"fmt"
	"math"
	"strconv"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/transform"
)

// prepared is a case as the network sees it: channels × voxels in the order of
// the network's array axes, and where that array lies.
type prepared struct {
	image  imaging.Grid     // the grid of the first volume, which results return to
	layout transform.Layout // of data
	frame  *transform.Frame // when the data is a box cut out of the prepared grid
	data   []float32
}

func (p *prepared) channel(c int) []float32 {
	n := p.layout.Voxels()
	return p.data[c*n : (c+1)*n]
}

// place is one channel of one volume.
type place struct {
	v       *imaging.Volume
	channel int
}

// assign matches the supplied volumes with the image channels of the manifest,
// in order. A nil volume, or one that is not there at the end, is a missing
// image.
func (m *Manifest) assign(in Input) ([]place, error) {
	var have []place
	for i, v := range in.Volumes {
		if v == nil {
			have = append(have, place{})
			continue
		}
		if err := v.Validate(); err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "image %d of %d cannot be used", i+1, len(in.Volumes))
		}
		for c := range v.Channels {
			have = append(have, place{v, c})
		}
	}
	wanted, required := m.imageChannels()
	if len(have) > wanted || len(have) < required {
		return nil, fault.New(fault.Invalid, "the image has %d channels; this model takes %s", len(have), channelsText(wanted, required))
	}
	if len(have) == 0 || have[0].v == nil {
		return nil, fault.New(fault.Invalid, "the first image is missing; the result would have no grid")
	}
	k := 0
	for _, c := range m.Inputs {
		if c.Source.Kind != SourceImage {
			continue
		}
		if c.Required && have[k].v == nil {
			return nil, fault.New(fault.Invalid, "the image for channel %s is missing", c.title())
		}
		if k++; k == len(have) {
			break
		}
	}
	return have, nil
}

func channelsText(wanted, required int) string {
	if wanted == required {
		return strconv.Itoa(wanted)
	}
	return fmt.Sprintf("%d to %d", required, wanted)
}

// imageChannels returns how many channels come from images, and how many of
// them a caller must supply.
func (m *Manifest) imageChannels() (all, required int) {
	for _, c := range m.Inputs {
		if c.Source.Kind == SourceImage {
			all++
			if c.Required {
				required++
			}
		}
	}
	return all, required
}

func (in *InputSpec) title() string {
	if in.Name != "" {
		return in.Name
	}
	return in.Source.String()
}

// prepare samples, fills and normalises all channels.
func (m *Manifest) prepare(ctx context.Context, in Input, maxVoxels int64, pool *buffers) (*prepared, error) {
	have, err := m.assign(in)
	if err != nil {
		return nil, err
	}
	image := have[0].v.Grid
	if in.Previous != nil && in.Previous.Distance(image) > 1e-3 {
		return nil, fault.New(fault.Invalid, "the earlier label map does not lie on the image's grid")
	}
	grid, err := m.grid(image, maxVoxels)
	if err != nil {
		return nil, err
	}
	if n := float64(len(m.Inputs)) * float64(grid.Voxels()); n > float64(maxVoxels) {
		return nil, fault.New(fault.TooLarge, "the image needs %.3g values at this model's spacing; at most %d are allowed", n, maxVoxels)
	}
	p := &prepared{image: image, layout: transform.Ordered(grid, m.order())}
	p.data = pool.get(len(m.Inputs) * p.layout.Voxels())
	present, err := m.fill(ctx, p, in, have)
	if err == nil {
		err = m.finish(ctx, p, present, pool)
	}
	if err != nil {
		pool.put(p.data)
		return nil, err
	}
	return p, nil
}

// finish normalises the channels and cuts them down to the foreground.
func (m *Manifest) finish(ctx context.Context, p *prepared, present []bool, pool *buffers) error {
	if m.Crop != nil && m.Crop.When == beforeNormalize {
		m.crop(p, present, pool)
	}
	if err := m.normalize(ctx, p, present); err != nil {
		return err
	}
	if m.Crop != nil && m.Crop.When == afterNormalize {
		m.crop(p, present, pool)
	}
	return nil
}

// fill writes the values of every channel before normalisation and reports
// which of them are there.
func (m *Manifest) fill(ctx context.Context, p *prepared, in Input, have []place) ([]bool, error) {
	present := make([]bool, len(m.Inputs))
	k := 0
	for c := range m.Inputs {
		spec, dst := &m.Inputs[c], p.channel(c)
		present[c] = true
		var err error
		switch spec.Source.Kind {
		case SourceImage:
			if present[c] = k < len(have) && have[k].v != nil; present[c] {
				err = m.sample(ctx, have[k], p.layout, dst)
			} else {
				fillWith(dst, spec.Missing)
			}
			k++
		case SourceGuidance:
			err = m.clicks(p, in.Guidance[spec.Source.Arg], spec, dst)
		case SourcePrevious:
			err = m.previous(ctx, p, in.Previous, spec.Source.Arg, dst)
		case SourceConstant:
			fillWith(dst, *spec.Value)
		}
		if err != nil {
			return nil, err
		}
	}
	return present, nil
}

func fillWith(dst []float32, v float64) {
	f := float32(v)
	for i := range dst {
		dst[i] = f
	}
}

func (m *Manifest) sample(ctx context.Context, from place, to transform.Layout, dst []float32) error {
	plan, err := transform.NewPlan(transform.Stored(from.v.Grid), to, transform.Options{Nearest: m.Interpolation == interpNearest})
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "the image cannot be resampled")
	}
	return plan.Run(ctx, transform.FromVolume(from.v, from.channel), dst)
}

// clicks draws clicked voxels of the image into the network's grid.
func (m *Manifest) clicks(p *prepared, clicked [][3]int, spec *InputSpec, dst []float32) error {
	inv, ok := p.layout.Affine.Inverse()
	if !ok {
		return fault.New(fault.Invalid, "the image's affine cannot be inverted")
	}
	to := inv.Mul(p.image.Affine)
	var at [][3]int
	for _, c := range clicked {
		for d, x := range c {
			if x >= p.image.Size[d] {
				c[d] = p.image.Size[d] - 1
			}
		}
		if min(c[0], c[1], c[2]) < 0 {
			continue // MONAI drops these
		}
		q := to.Apply([3]float64{float64(c[0]), float64(c[1]), float64(c[2])})
		var v [3]int
		for d := range v {
			v[d] = int(min(max(math.Floor(q[d]+0.5), 0), float64(p.layout.Size[d]-1)))
		}
		at = append(at, v)
	}
	sigma := 2.0 // MONAI's
	if spec.Sigma != nil {
		sigma = *spec.Sigma
	}
	transform.ClickSignal(dst, p.layout.Size, at, sigma)
	return nil
}

// previous writes the earlier label map, or the mask of one of its labels.
func (m *Manifest) previous(ctx context.Context, p *prepared, earlier *imaging.LabelMap, label string, dst []float32) error {
	if earlier == nil {
		clear(dst)
		return nil
	}
	plan, err := transform.NewPlan(transform.Stored(earlier.Grid), p.layout, transform.Options{Nearest: true})
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "the earlier label map cannot be resampled")
	}
	labels := make([]uint16, p.layout.Voxels())
	if err := plan.Labels(ctx, earlier.Data, labels); err != nil {
		return err
	}
	if label == "" {
		for i, l := range labels {
			dst[i] = float32(l)
		}
		return nil
	}
	var value uint16
	for _, l := range m.Labels {
		if l.Name == label {
			value = uint16(l.Value) //nolint:gosec // checked
		}
	}
	for i, l := range labels {
		dst[i] = 0
		if l == value {
			dst[i] = 1
		}
	}
	return nil
}
