package infer

import (
	"slices"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
)

// AllMirrorings in Sampling.Flips stands for every subset of the network's
// axes: 8 passes of a 3-D network, 4 of a 2-D one.
const AllMirrorings = "all"

// mirrorings returns the subsets of the network's axes, fewest axes first. The
// axis across the slices of a 2-D network is none of them.
func (m *Manifest) mirrorings() []string {
	axes := "xyz"
	if m.Dimension == 2 {
		axes = strings.ReplaceAll(axes, m.Network.SliceAxis, "")
	}
	var all []string
	for set := range 1 << len(axes) {
		var subset []rune
		for i, a := range axes {
			if set>>i&1 == 1 {
				subset = append(subset, a)
			}
		}
		all = append(all, string(subset))
	}
	slices.SortStableFunc(all, func(a, b string) int { return len(a) - len(b) })
	return all
}

// mirrored turns the names of axes into array axes.
func (m *Manifest) mirrored(flips []string) (list [][3]bool, err error) {
	if slices.Equal(flips, []string{AllMirrorings}) {
		flips = m.mirrorings()
	}
	order := m.order()
	for i, f := range flips {
		var by [3]bool // array axis
		for _, a := range f {
			k := slices.Index(order[:], int(a-'x'))
			switch {
			case k < 0:
				return nil, fault.New(fault.Invalid, "mirroring %q: axes are named x, y and z", f)
			case m.Dimension == 2 && k == 0:
				return nil, fault.New(fault.Invalid, "mirroring %q: the model looks at slices across %c, so that mirroring there changes nothing", f, a)
			case by[k]:
				return nil, fault.New(fault.Invalid, "mirroring %q: axis %c appears twice", f, a)
			}
			by[k] = true
		}
		if slices.Contains(list, by) {
			return nil, fault.New(fault.Invalid, "mirroring %q is asked for twice", flips[i])
		}
		list = append(list, by)
	}
	return list, nil
}

// mirror turns an array of the given size round, in place.
func mirror(v []float32, size [3]int, axes [3]bool) {
	plane := size[1] * size[2]
	if axes[0] {
		for i := range size[0] / 2 {
			a, b := v[i*plane:(i+1)*plane], v[(size[0]-1-i)*plane:][:plane]
			for k := range a {
				a[k], b[k] = b[k], a[k]
			}
		}
	}
	for i := range size[0] {
		if !axes[1] {
			break
		}
		for j := range size[1] / 2 {
			a, b := v[i*plane+j*size[2]:][:size[2]], v[i*plane+(size[1]-1-j)*size[2]:][:size[2]]
			for k := range a {
				a[k], b[k] = b[k], a[k]
			}
		}
	}
	for i := 0; axes[2] && i < len(v); i += size[2] {
		slices.Reverse(v[i : i+size[2]])
	}
}
