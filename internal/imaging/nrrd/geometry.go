package nrrd

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
)

// axis is one axis of the stored array, the fastest first.
type axis struct {
	size      int
	stride    int // in voxels
	spatial   bool
	direction vector // one step in the file's space; zero when only a spacing is known
	spacing   float64
	start     float64 // position of the first voxel's centre ("axis mins"), without a space
	kind      string  // as written; empty when absent
}

// layout says how the stored array becomes a volume.
type layout struct {
	grid     imaging.Grid
	channels int
	strides  [3]int // of x, y, z in the stored array
	lists    []axis // the axes that make the channels
	plain    bool   // the array already is x fastest, channel by channel
}

// layout finds the spatial axes and the affine. Axes without a direction
// ("none"), of a kind that is no place in space, or beyond the third are
// channels, the earlier one fastest. Missing spatial axes count one voxel.
//
// A header without a named space, or with one that has no anatomical meaning
// (scanner-xyz, 3D-right-handed, …), is taken as LPS, as in ITK.
func (h *header) layout() (layout, error) {
	axes, oriented, err := h.axes()
	if err != nil {
		return layout{}, err
	}
	var l layout
	var spatial []axis
	for _, a := range axes {
		if a.spatial {
			spatial = append(spatial, a)
		} else {
			l.lists = append(l.lists, a)
		}
	}
	if len(spatial) == 0 {
		return l, raw.Malformed("the NRRD header has no axis in space")
	}
	l.plain = true
	stride := 1
	for _, a := range slices.Concat(spatial, l.lists) {
		l.plain = l.plain && (a.size == 1 || a.stride == stride)
		stride *= a.size
	}
	if l.grid, err = h.grid(spatial, oriented); err != nil {
		return l, err
	}
	for i, a := range spatial {
		l.strides[i] = a.stride
	}
	l.channels, err = product(l.lists)
	return l, err
}

// beyondSpace describes the axes that make the channels.
func (l layout) beyondSpace() []raw.Axis {
	var out []raw.Axis
	for _, a := range l.lists {
		out = append(out, raw.Axis{Size: a.size, Kind: a.kind})
	}
	return out
}

// start says where channel c starts in the stored array.
func (l layout) start(c int) int {
	at := 0
	for _, a := range l.lists {
		at += c % a.size * a.stride
		c /= a.size
	}
	return at
}

func product(axes []axis) (int, error) {
	n := 1
	for _, a := range axes {
		if a.size > math.MaxInt32 || n > math.MaxInt32 {
			return 0, raw.TooLarge("the NRRD header declares more than 2^31 channels")
		}
		n *= a.size
	}
	return n, nil
}

// axes reads what the header says per axis. oriented reports whether
// directions are given.
func (h *header) axes() (axes []axis, oriented bool, err error) {
	axes = make([]axis, len(h.sizes))
	stride := 1
	for i, s := range h.sizes {
		axes[i] = axis{size: s, stride: stride, spatial: true, spacing: 1}
		if s > math.MaxInt/stride {
			return nil, false, raw.TooLarge("the NRRD sizes overflow")
		}
		stride *= s
	}
	text, ok := h.fields["spacedirections"]
	if err := h.readKinds(axes); err != nil && !ok { // with directions, kinds are only names
		return nil, false, err
	}
	if ok {
		if err := readDirections(axes, text); err != nil {
			return nil, false, err
		}
		return axes, true, limitSpatial(axes, true)
	}
	if err := h.readSpacings(axes); err != nil {
		return nil, false, err
	}
	return axes, false, limitSpatial(axes, false)
}

func readDirections(axes []axis, text string) error {
	vs, err := parseVectors(text)
	if err != nil {
		return err
	}
	if len(vs) != len(axes) {
		return raw.Malformed("the NRRD header has %d space directions for %d axes", len(vs), len(axes))
	}
	for i, v := range vs {
		if axes[i].spatial = v != nil; v != nil {
			axes[i].direction = toVector(v)
			// Of a space with time, the time axis is none in space.
			axes[i].spatial = len(v) < 4 || axes[i].direction != vector{}
		}
	}
	return nil
}

// spatialKinds are the kinds of axes that may lie in space.
var spatialKinds = map[string]bool{"domain": true, "space": true, "???": true, "none": true, "": true}

func (h *header) readKinds(axes []axis) error {
	text, ok := h.fields["kinds"]
	if !ok {
		return nil
	}
	kinds := strings.Fields(text)
	if len(kinds) != len(axes) {
		return raw.Malformed("the NRRD header has %d kinds for %d axes", len(kinds), len(axes))
	}
	for i, k := range kinds {
		axes[i].spatial = spatialKinds[strings.ToLower(k)]
		if k != "???" && k != "none" {
			axes[i].kind = k
		}
	}
	return nil
}

// readSpacings reads "spacings" and, for the position, "axis mins" with
// "centers": the minimum is the centre of a node, the border of a cell (the
// default, as in teem).
func (h *header) readSpacings(axes []axis) error {
	spacings, err := h.perAxis("spacings", len(axes))
	if err != nil {
		return err
	}
	mins, err := h.perAxis("axismins", len(axes))
	if err != nil {
		return err
	}
	centers := strings.Fields(h.fields["centers"] + h.fields["centerings"])
	for i := range axes {
		if spacings != nil && !math.IsNaN(spacings[i]) && spacings[i] != 0 {
			axes[i].spacing = math.Abs(spacings[i])
		}
		if mins != nil && !math.IsNaN(mins[i]) {
			axes[i].start = mins[i]
			if len(centers) != len(axes) || centers[i] != "node" {
				axes[i].start += axes[i].spacing / 2
			}
		}
	}
	return nil
}

func (h *header) perAxis(name string, n int) ([]float64, error) {
	text, ok := h.fields[name]
	if !ok {
		return nil, nil
	}
	parts := strings.Fields(text)
	if len(parts) != n {
		return nil, raw.Malformed("the NRRD field %q has %d values for %d axes", name, len(parts), n)
	}
	out := make([]float64, n)
	for i, p := range parts {
		f, err := strconv.ParseFloat(p, 64)
		if err != nil {
			return nil, raw.Malformed("the NRRD field %q holds %q, which is no number", name, p)
		}
		out[i] = f
	}
	return out, nil
}

// limitSpatial leaves three spatial axes: the first ones where only kinds and
// spacings say what an axis is.
func limitSpatial(axes []axis, oriented bool) error {
	n := 0
	for i := range axes {
		if !axes[i].spatial {
			continue
		}
		if n++; n > 3 && oriented {
			return raw.Malformed("the NRRD header has more than three space directions")
		}
		axes[i].spatial = n <= 3
	}
	return nil
}

// grid builds size and affine (RAS) of the spatial axes.
func (h *header) grid(spatial []axis, oriented bool) (imaging.Grid, error) {
	g := imaging.Grid{Size: [3]int{1, 1, 1}, Affine: imaging.Identity()}
	dirs := make([]vector, 0, 3)
	var origin vector
	for i, a := range spatial {
		g.Size[i] = a.size
		if oriented {
			dirs = append(dirs, a.direction)
			continue
		}
		var d vector
		d[i], origin[i] = a.spacing, a.start
		dirs = append(dirs, d)
	}
	if text, ok := h.fields["spaceorigin"]; ok {
		vs, err := parseVectors(text)
		if err != nil {
			return g, err
		}
		if len(vs) != 1 || vs[0] == nil {
			return g, raw.Malformed("the NRRD space origin %.60q is not one vector", text)
		}
		origin = toVector(vs[0])
	}
	dirs = complete(dirs)
	sign := worldSigns(h.meta.Space)
	for i := range 3 {
		for j := range 3 {
			g.Affine[i][j] = sign[i] * dirs[j][i]
		}
		g.Affine[i][3] = sign[i] * origin[i]
	}
	return g, raw.Classify(g.Validate())
}
