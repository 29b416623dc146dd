package metrics

import (
	"context"
	"math"
	"math/bits"
)

// cells holds the surface between voxel centres: every cube of 2×2×2 voxels
// that is neither empty nor full, and which of its corners are set.
type cells struct {
	on   *mask
	code []uint8 // of the cubes of on, in the order of mask.each
}

// cells returns the cubes of a mask. Cube (x, y, z) has its first corner at
// voxel (x-1, y-1, z-1): there is one more cube than voxels along each axis, and
// nothing is set beyond the box.
func (m *mask) cells(ctx context.Context) (*cells, error) {
	c := &cells{on: newMask([3]int{m.size[0] + 1, m.size[1] + 1, m.size[2] + 1})}
	inside := func(x, y, z int) uint8 {
		if x < 0 || y < 0 || z < 0 || x >= m.size[0] || y >= m.size[1] || z >= m.size[2] || !m.has(x, y, z) {
			return 0
		}
		return 1
	}
	for y := range c.on.size[1] {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for x := range c.on.size[0] {
			for z := range c.on.size[2] {
				var code uint8
				for corner := range 8 {
					code |= inside(x-1+corner&1, y-1+corner>>1&1, z-1+corner>>2) << corner
				}
				if code != 0 && code != 255 {
					c.on.row(y, z)[x>>6] |= 1 << (x & 63)
					c.code = append(c.code, code)
				}
			}
		}
	}
	return c, nil
}

// between measures the distances between the cubes of the surfaces of two
// masks, and their areas.
func (s *Surfaces) between(ctx context.Context, predMask, truthMask *mask, o SurfaceOptions) error {
	pred, err := predMask.cells(ctx)
	if err != nil {
		return err
	}
	truth, err := truthMask.cells(ctx)
	if err != nil {
		return err
	}
	s.areas = true
	area := areas(ofUnitFace(o.Spacing))
	for _, code := range pred.code {
		s.predictedAreas = append(s.predictedAreas, area[code])
	}
	for _, code := range truth.code {
		s.trueAreas = append(s.trueAreas, area[code])
	}
	return s.measure(ctx, pred.on, truth.on, o)
}

// ofUnitFace scales voxels so that their largest face has area 1. Only ratios of
// areas matter, and those of huge or tiny voxels would leave float64.
func ofUnitFace(spacing [3]float64) [3]float64 {
	f := math.Sqrt(max(spacing[0]*spacing[1], spacing[1]*spacing[2], spacing[2]*spacing[0]))
	if !(f > 0) || math.IsInf(f, 0) {
		return spacing
	}
	return [3]float64{spacing[0] / f, spacing[1] / f, spacing[2] / f}
}

// areas returns the area in mm² of the surface that marching cubes puts into
// a cube for every set of corners: bit b of the code is corner (b&1, b>>1&1,
// b>>2&1). Vertices are the middles of the cube's edges.
//
// Source: Lorensen and Cline, Computer Graphics 21 (1987). Corners that share no
// edge are cut off one by one; of more than four set corners the clear ones are.
// What is left are the pieces of pieceArea.
func areas(spacing [3]float64) [256]float64 {
	var out [256]float64
	for code := range out {
		set := uint8(code)
		if bits.OnesCount8(set) > 4 {
			set = ^set
		}
		for set != 0 {
			piece := connected(set)
			out[code] += pieceArea(piece, spacing)
			set &^= piece
		}
	}
	return out
}

// connected returns the corners that are joined to the first one by edges of
// the cube.
func connected(set uint8) uint8 {
	piece := set & -set
	for {
		next := piece
		for b := range 8 {
			if piece>>b&1 != 0 {
				for axis := range 3 {
					next |= set & (1 << (b ^ 1<<axis))
				}
			}
		}
		if next == piece {
			return piece
		}
		piece = next
	}
}

// pieceArea returns the area that cuts one to four joined corners off. In units
// of an eighth of the vectors with components 0 and 1 (which the spacing turns
// into mm²), the triangles of a piece are:
//
//	one corner                  (1,1,1)
//	an edge                     2 × (2,2,0), 0 along the edge
//	three corners               (4,0,0) across their face, 3 × (1,1,1)
//	a face                      (8,0,0) across it
//	a corner and its three      6 × (1,1,1)
//	a path of three directions  4 × (1,1,1), and for both axes but the middle
//	                            one's 2 × (1,1,0) of it and the middle one, twice
func pieceArea(piece uint8, spacing [3]float64) float64 {
	edges, degree := shape(piece)
	unit := [3]float64{spacing[1] * spacing[2], spacing[0] * spacing[2], spacing[0] * spacing[1]}
	area := func(times, x, y, z float64) float64 {
		return times / 8 * math.Sqrt(x*unit[0]*unit[0]+y*unit[1]*unit[1]+z*unit[2]*unit[2])
	}
	triangle := area(1, 1, 1, 1)
	flat := func(axis int) float64 { return unit[axis] / 8 }
	pairOf := func(a, b int) float64 {
		var v [3]float64
		v[a], v[b] = 1, 1
		return area(1, v[0], v[1], v[2])
	}
	switch n := bits.OnesCount8(piece); {
	case n == 1:
		return triangle
	case n == 2:
		along := edges.with(1)
		return 4 * pairOf((along+1)%3, (along+2)%3)
	case n == 3:
		return 4*flat(edges.with(0)) + 3*triangle
	case edges[0]+edges[1]+edges[2] == 4:
		return 8 * flat(edges.with(0))
	case degree == 3:
		return 6 * triangle
	}
	middle := middleAxis(piece)
	return 4*triangle + 2*pairOf(middle, (middle+1)%3) + 2*pairOf(middle, (middle+2)%3)
}

// edgeCount is the number of edges of a piece along each axis.
type edgeCount [3]int

// with returns the axis that has n edges.
func (e edgeCount) with(n int) int {
	for a, m := range e {
		if m == n {
			return a
		}
	}
	return 0
}

// shape counts the edges between the corners of a piece along each axis, and
// the most edges at one corner.
func shape(piece uint8) (edges edgeCount, degree int) {
	for b := range 8 {
		if piece>>b&1 == 0 {
			continue
		}
		at := 0
		for axis := range 3 {
			if piece>>(b^1<<axis)&1 != 0 {
				at++
				if b>>axis&1 == 0 {
					edges[axis]++
				}
			}
		}
		degree = max(degree, at)
	}
	return edges, degree
}

// middleAxis returns the direction of the middle edge of a path of three: that
// whose both ends have another edge.
func middleAxis(piece uint8) int {
	for axis := range 3 {
		for b := range 8 {
			o := b ^ 1<<axis
			if b < o && piece>>b&1 != 0 && piece>>o&1 != 0 && joins(piece, b) == 2 && joins(piece, o) == 2 {
				return axis
			}
		}
	}
	return 0
}

func joins(piece uint8, b int) int {
	n := 0
	for axis := range 3 {
		n += int(piece >> (b ^ 1<<axis) & 1)
	}
	return n
}
