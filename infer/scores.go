package infer

import (
	"context"

	"github.com/voxloop/voxloop/internal/imaging/transform"
)

// scores collects the network's output over windows: channels arrays of n
// voxels, sums of weighted scores, and the sum of the weights. A nil weight
// means that every voxel is written once, unweighted.
//
// Windows come in order of the first array axis, so planes before the present
// window are final. Only depth planes are held, from plane base on; finished
// ones are handed on (sink) and make room by advance.
type scores struct {
	w          windows
	channels   int
	depth      int
	base       int // array plane that is held first
	done       int // array planes below are final and activated or decided
	n          int // voxels held per channel
	sum        []float32
	weight     []float32
	importance []float32 // weights of a window's voxels; nil: all 1
}

// newScores takes zeroed buffers for depth planes from the pool. Windows that
// do not overlap need no weights.
func newScores(w windows, channels, depth int, weighted bool, importance []float32, pool *buffers) *scores {
	s := &scores{w: w, channels: channels, depth: depth, n: depth * w.array[1] * w.array[2], importance: importance}
	s.sum = pool.zeroed(channels * s.n)
	if weighted {
		s.weight = pool.zeroed(s.n)
	}
	return s
}

func (s *scores) release(pool *buffers) {
	pool.put(s.sum)
	pool.put(s.weight)
	s.sum, s.weight = nil, nil
}

// plane returns the voxels of one plane of the first axis.
func (s *scores) plane() int { return s.w.array[1] * s.w.array[2] }

// open returns the range of held voxels that are to be finished when the array
// planes below limit are final.
func (s *scores) open(limit int) (from, to int) {
	return (max(s.done, s.base) - s.base) * s.plane(), (limit - s.base) * s.plane()
}

// advance lets go of the planes below base, which becomes the first one held.
func (s *scores) advance(base int) {
	shift := (base - s.base) * s.plane()
	if shift <= 0 {
		return
	}
	move := func(v []float32) {
		n := copy(v, v[shift:])
		clear(v[n:])
	}
	for c := range s.channels {
		move(s.sum[c*s.n : (c+1)*s.n])
	}
	if s.weight != nil {
		move(s.weight)
	}
	s.base = base
}

// blend adds the output of one window, [channels, window], that starts at
// start; the network saw the window mirrored along the axes of mirror. Parts of
// the window that are padding are left out.
func (s *scores) blend(ctx context.Context, start [3]int, out []float32, mirror [3]bool) error {
	planes := s.w.size[0]
	units := s.channels * planes
	if s.weight != nil {
		units += planes
	}
	return transform.Parallel(ctx, units, func(_ context.Context, from, to int) error {
		for u := from; u < to; u++ {
			c, i := u/planes, u%planes
			if a := start[0] + i; a >= 0 && a < s.w.array[0] {
				s.addPlane(c, i, a-s.base, start, out, mirror)
			}
		}
		return nil
	})
}

// addPlane blends plane i of channel c, or of the weights when c is one beyond
// the channels, into held plane a.
func (s *scores) addPlane(c, i, a int, start [3]int, out []float32, mirror [3]bool) {
	size, array := s.w.size, s.w.array
	j0, j1 := max(0, -start[1]), min(size[1], array[1]-start[1])
	k0, k1 := max(0, -start[2]), min(size[2], array[2]-start[2])
	var row []float32 // turned round
	if mirror[2] {
		row = make([]float32, k1-k0)
	}
	for j := j0; j < j1; j++ {
		at := (a*array[1]+start[1]+j)*array[2] + start[2]
		in := (i*size[1]+j)*size[2] + k0
		var m []float32
		if s.importance != nil {
			m = s.importance[in : in+k1-k0]
		}
		if c == s.channels {
			addWeights(s.weight[at+k0:at+k1], m)
			continue
		}
		dst := s.sum[c*s.n+at+k0 : c*s.n+at+k1]
		from, line, first := i, j, k0 // where the network has row (i, j)
		if mirror[0] {
			from = size[0] - 1 - i
		}
		if mirror[1] {
			line = size[1] - 1 - j
		}
		if mirror[2] {
			first = size[2] - k1
		}
		src := out[((c*size[0]+from)*size[1]+line)*size[2]+first:][:k1-k0]
		if mirror[2] {
			for k, v := range src {
				row[len(row)-1-k] = v
			}
			src = row
		}
		switch {
		case s.weight == nil:
			copy(dst, src)
		case m == nil:
			add(dst, src)
		default:
			addScaled(dst, src, m)
		}
	}
}

// add adds src to dst.
func add(dst, src []float32) {
	dst = dst[:len(src)]
	for k, v := range src {
		dst[k] += v
	}
}

// addScaled adds src·m to dst.
func addScaled(dst, src, m []float32) {
	dst, m = dst[:len(src)], m[:len(src)]
	for k, v := range src {
		dst[k] += v * m[k]
	}
}

func addWeights(dst, m []float32) {
	if m != nil {
		add(dst, m)
		return
	}
	for k := range dst {
		dst[k]++
	}
}

// normalise turns the sums of voxels [from, to) into means, and the weights of
// these voxels into 1/weight.
func (s *scores) normalise(from, to int) {
	if s.weight == nil {
		return
	}
	w := s.weight[from:to]
	for i := range w {
		w[i] = 1 / w[i]
	}
	for c := range s.channels {
		v := s.sum[c*s.n+from : c*s.n+to]
		for i := range v {
			v[i] *= w[i]
		}
	}
}
