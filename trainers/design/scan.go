package design

import (
	"context"
	"fmt"
	"math"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
)

// caseBytes estimates what reading a case takes, from the headers alone.
func caseBytes(ctx context.Context, c Case) int64 {
	const perVoxel = 4 + 8 + 2 // one channel as float32, a label map as read and as used
	bytes := int64(0)
	for _, file := range c.Images {
		h, err := codec.ReadGrid(ctx, file)
		if err != nil {
			return 0 // scanCase tells why
		}
		n := int64(h.Grid.Voxels())
		bytes = max(bytes, n*(int64(h.Channels*h.Type.Size())+perVoxel))
	}
	return bytes
}

// scanCase reads one case. Its files are read one after the other, and only
// samples are kept.
func scanCase(ctx context.Context, c Case) (CaseFingerprint, error) {
	out := CaseFingerprint{ID: c.ID, Counts: map[int]int{}}
	labels, err := readLabels(ctx, c.Label)
	if err != nil {
		return out, err
	}
	s := &caseScan{out: &out}
	for _, file := range c.Images {
		v, err := codec.Read(ctx, file, codec.Limits{})
		if err != nil {
			return out, err
		}
		if s.labels == nil {
			var ok bool
			if s.labels, ok = codec.Align(labels, v.Grid); !ok {
				return out, fault.New(fault.Invalid, "the label map (%s) is not on the image's grid (%s)", gridText(labels.Grid), gridText(v.Grid))
			}
			s.begin()
		} else if v.Grid.Distance(s.labels.Grid) > codec.AlignTolerance {
			return out, fault.New(fault.Invalid, "its channels are not on one grid")
		}
		if err := s.channels(ctx, v); err != nil {
			return out, err
		}
	}
	return out, s.finish()
}

func readLabels(ctx context.Context, file string) (*imaging.LabelMap, error) {
	v, err := codec.Read(ctx, file, codec.Limits{})
	if err != nil {
		return nil, err
	}
	l, err := imaging.LabelMapOf(v)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the label map cannot be used: %v", err)
	}
	return l, nil
}

func gridText(g imaging.Grid) string {
	return fmt.Sprintf("%d×%d×%d voxels", g.Size[0], g.Size[1], g.Size[2])
}

// caseScan collects one case's numbers.
type caseScan struct {
	out        *CaseFingerprint
	labels     *imaging.LabelMap
	foreground int    // voxels of any class
	lo, hi     [3]int // box of what is not 0, half open
}

// begin counts the labels.
func (s *caseScan) begin() {
	var counts [math.MaxUint16 + 1]int
	for _, v := range s.labels.Data {
		counts[v]++
	}
	for v, n := range counts {
		if v > 0 && n > 0 {
			s.out.Counts[v] = n
			s.foreground += n
		}
	}
	s.lo = s.labels.Size
}

// channels looks at the values of every channel of a volume.
func (s *caseScan) channels(ctx context.Context, v *imaging.Volume) error {
	n := v.Voxels()
	values := make([]float32, n)
	for c := range v.Channels {
		if err := ctx.Err(); err != nil {
			return fault.Wrap(fault.Canceled, err, "the fingerprint was stopped")
		}
		v.Float32s(values, c, 0)
		fg, all := newSampler(s.foreground), newSampler(n)
		for i, x := range values {
			if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
				return fault.New(fault.Invalid, "it has voxels that are not finite")
			}
			if x != 0 {
				s.grow(i)
			}
			if s.labels.Data[i] != 0 {
				fg.add(x)
			}
			all.add(x)
		}
		s.out.foreground, s.out.whole = append(s.out.foreground, fg.samples), append(s.out.whole, all.samples)
		s.out.channels++
	}
	return nil
}

// grow extends the box to voxel i.
func (s *caseScan) grow(i int) {
	nx, ny := s.labels.Size[0], s.labels.Size[1]
	for k, at := range [3]int{i % nx, i / nx % ny, i / (nx * ny)} {
		s.lo[k], s.hi[k] = min(s.lo[k], at), max(s.hi[k], at+1)
	}
}

// finish turns sizes and spacings to RAS.
func (s *caseScan) finish() error {
	grid := s.labels.Grid
	if s.hi == ([3]int{}) {
		return fault.New(fault.Invalid, "the image is 0 everywhere")
	}
	_, axes, err := grid.Orient("RAS")
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "its axes cannot be oriented")
	}
	spacing := grid.Spacing()
	for k, from := range axes.Source {
		s.out.Size[k], s.out.Cropped[k], s.out.Spacing[k] = grid.Size[from], s.hi[from]-s.lo[from], spacing[from]
	}
	s.out.Orientation = grid.Orientation()
	return nil
}
