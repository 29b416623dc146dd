package transform

import (
	"context"
	"fmt"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
)

// Image is voxels with their place in the world: channels of float32 arrays on
// one Layout, element (i, j, k) at (i·Size[1]+j)·Size[2]+k. Label maps travel
// as float32 too: every label up to 65535 is exact.
//
// Operations on an Image read it and return another one, never changing the
// voxels of the first; the two may share storage where nothing moved.
type Image struct {
	Layout
	Data Channels
}

// maxVoxels bounds one channel of a result: 8 GiB of float32.
const maxVoxels = 1 << 31

// NewImage allocates a zero image. It refuses a layout without voxels or
// without an inverse (imaging.ErrFormat) and one of more than 2^31 voxels
// (imaging.ErrLimit).
func NewImage(l Layout, channels int) (*Image, error) {
	if err := imaging.Grid(l).Validate(); err != nil {
		return nil, err
	}
	if l.Voxels() > maxVoxels {
		return nil, fmt.Errorf("%w: %d×%d×%d voxels", imaging.ErrLimit, l.Size[0], l.Size[1], l.Size[2])
	}
	m := &Image{Layout: l, Data: make(Channels, channels)}
	for c := range m.Data {
		m.Data[c] = make([]float32, l.Voxels())
	}
	return m, nil
}

// ImageOf reads all channels of a volume, scaled, with array axis i along grid
// axis axes[i] (0 = x, 1 = y, 2 = z).
func ImageOf(ctx context.Context, v *imaging.Volume, axes [3]int) (*Image, error) {
	if err := v.Validate(); err != nil {
		return nil, err
	}
	m, err := NewImage(Ordered(v.Grid, axes), v.Channels)
	if err != nil {
		return nil, err
	}
	p, err := NewPlan(Stored(v.Grid), m.Layout, Options{})
	if err != nil {
		return nil, err
	}
	for c := range m.Data {
		if err := p.Run(ctx, FromVolume(v, c), m.Data[c]); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// check reports channels that do not fit the layout.
func (m *Image) check() error {
	if len(m.Data) == 0 {
		return fault.New(fault.Invalid, "the image has no channels")
	}
	for c, v := range m.Data {
		if len(v) != m.Voxels() {
			return fmt.Errorf("%w: channel %d holds %d values for %d×%d×%d voxels", imaging.ErrShape, c, len(v), m.Size[0], m.Size[1], m.Size[2])
		}
	}
	return nil
}

// perChannel makes an image on layout l and fills each of its channels from
// the channel of m.
func (m *Image) perChannel(l Layout, fill func(dst, src []float32) error) (*Image, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	out, err := NewImage(l, len(m.Data))
	if err != nil {
		return nil, err
	}
	for c := range m.Data {
		if err := fill(out.Data[c], m.Data[c]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// run samples every channel by one plan.
func (m *Image) run(ctx context.Context, p *Plan, l Layout) (*Image, error) {
	if p.Identity() {
		if err := m.check(); err != nil {
			return nil, err
		}
		return &Image{Layout: l, Data: m.Data}, nil
	}
	return m.perChannel(l, func(dst, src []float32) error { return p.Run(ctx, FromTensor(src), dst) })
}
