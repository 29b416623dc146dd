package augment

import "github.com/voxloop/voxloop/internal/fault"

// Rot90 turns image and labels by 90, 180 or 270 degrees in one of the planes,
// each as often as the others. Where the two axes have different sizes only
// 180 degrees keep the patch's shape, and that is what is taken. It is exact;
// turning by 90 degrees in plane "xy" moves +x to +y (numpy.rot90).
type Rot90 struct {
	Probability float64  `yaml:"probability"`
	Planes      []string `yaml:"planes"` // of xy, yz, zx; none (absent): all three
}

// planes are pairs of axes, the first one turning towards the second one.
var planes = map[string][2]int{"xy": {0, 1}, "yz": {1, 2}, "zx": {2, 0}}

func (t *Rot90) validate() error {
	for i, name := range t.Planes {
		_, known := planes[name]
		for _, other := range t.Planes[:i] {
			known = known && other != name
		}
		if !known {
			return fault.New(fault.Invalid, "planes: %v is not a choice of xy, yz and zx", t.Planes)
		}
	}
	return checkProbability(t.Probability)
}

func (t *Rot90) apply(r *run) error {
	d := r.draws(-1)
	if !d.chance(t.Probability) {
		return nil
	}
	names := t.Planes
	if len(names) == 0 {
		names = []string{"xy", "yz", "zx"}
	}
	plane := planes[names[d.below(len(names))]]
	turns := 1 + d.below(3)
	if r.p.Size[plane[0]] != r.p.Size[plane[1]] {
		turns = 2
	}
	for c := range r.p.Channels {
		v := r.p.Channel(c)
		src, err := r.copyOf(v)
		if err == nil {
			err = turn(r, v, src, plane, turns)
		}
		if err != nil {
			return err
		}
	}
	if r.p.Labels == nil {
		return nil
	}
	src := r.spareLabels(len(r.p.Labels))
	copy(src, r.p.Labels)
	return turn(r, r.p.Labels, src, plane, turns)
}

// turn writes src, turned, to dst. Index p of the first axis and q of the
// second one come, for one turn, from (q, n-1-p).
func turn[T any](r *run, dst, src []T, plane [2]int, turns int) error {
	size := r.p.Size
	stride := [3]int{size[1] * size[2], size[2], 1}
	a, b := plane[0], plane[1]
	start, step := 0, stride // source of voxel (0, 0, 0), and per step of dst
	last := [3]int{(size[0] - 1) * stride[0], (size[1] - 1) * stride[1], size[2] - 1}
	switch turns {
	case 1: // dst(p, q) = src(q, n-1-p)
		step[a], step[b] = -stride[b], stride[a]
		start = last[b]
	case 2:
		step[a], step[b] = -stride[a], -stride[b]
		start = last[a] + last[b]
	case 3: // dst(p, q) = src(n-1-q, p)
		step[a], step[b] = stride[b], -stride[a]
		start = last[a]
	}
	return r.each(size[0], 1, func(lo, hi int) {
		for x := lo; x < hi; x++ {
			for y := range size[1] {
				row := dst[(x*size[1]+y)*size[2]:][:size[2]]
				from := start + x*step[0] + y*step[1]
				for z := range row {
					row[z] = src[from+z*step[2]]
				}
			}
		}
	})
}
