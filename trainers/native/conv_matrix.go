package native

import (
	"fmt"
	"slices"

	"github.com/voxloop/voxloop/internal/onnx"
)

// Rearrangements of single elements are slow in ONNX Runtime: Transpose and
// Slice then copy one number at a time. Here they are split into a Transpose
// that moves whole rows and a matrix product that reorders within rows. The
// matrices hold a single 1 per row, so that the results are exact.

// widest is the length of rows up to which a matrix product reorders them
// faster than a Transpose does.
const widest = 96

// largest is the number of elements up to which a matrix of this kind pays.
const largest = 1 << 16

// selection is the matrix [rows, columns] whose row i has a 1 in column to(i),
// or nowhere when that is negative.
func (g *graph) selection(rows, columns int64, to func(i int64) int64) string {
	place := make([]int64, rows)
	for i := range place {
		place[i] = to(int64(i))
	}
	return g.cached(fmt.Sprint("selection", columns, place), func() *array {
		a := newArray(onnx.Float32, []int64{rows, columns})
		for i, k := range place {
			if k >= 0 {
				a.v[int64(i)*columns+k] = 1
			}
		}
		return a
	})
}

// reordered multiplies rows of the given length by a selection; a is viewed as
// [·, rows].
func (g *graph) reordered(a string, rows, columns int64, to func(i int64) int64) string {
	n := size(g.shape(a)) / rows
	same := rows == columns
	for i := range rows {
		same = same && to(i) == i
	}
	a = g.reshape(a, n, rows)
	if same {
		return a
	}
	return g.matmul(a, g.selection(rows, columns, to))
}

// blockOf is the largest divisor d of n for which rows of d·step elements are
// not too wide.
func blockOf(n, step int64) int64 {
	for d := min(n, widest/step); d > 1; d-- {
		if n%d == 0 {
			return d
		}
	}
	return 1
}

// interleave turns [N, G·strides·C, spatial…] into [N, G·C, spatial·stride…].
func (g *graph) interleave(y string, group, channels int64, stride []int64) string {
	s := g.shape(y)
	last := len(stride) - 1
	width, step := s[2+last], stride[last]
	block := width
	if step > 1 {
		block = blockOf(width, step)
	}
	split := slices.Concat([]int64{s[0] * group}, stride, []int64{channels}, s[2:2+last], []int64{width / block, block})
	axis := func(k int) int64 { return int64(last + 3 + k) } // of spatial axis k in split
	perm := []int64{0, axis(-1)}
	joined := []int64{s[0], group * channels}
	for k := range last {
		perm = append(perm, axis(k), int64(1+k))
		joined = append(joined, s[2+k]*stride[k])
	}
	perm = append(perm, axis(last), int64(1+last), axis(last)+1)
	joined = append(joined, width*step)
	y = g.transpose(g.reshape(y, split...), perm...)
	if step > 1 { // rows of [step, block] → [block, step]
		y = g.reordered(y, step*block, step*block, func(i int64) int64 { return i%block*step + i/block })
	}
	return g.reshape(y, joined...)
}

// parted turns [N, C, spatial·stride…] into [N, strides·C, spatial…]: positions
// modulo the stride become channels, the last axis may get further zeros at its
// end.
func (g *graph) parted(x string, stride []int64) string {
	last, step := len(stride)-1, stride[len(stride)-1]
	width, block := g.shape(x)[2+last]/step, int64(0)
	if block = width; step > 1 {
		extra := int64(0)
		for extra < 3 && blockOf(width+extra, step)*step < 16 {
			extra++
		}
		end := make([]int64, len(stride)+2)
		end[2+last] = extra * step
		x = g.pad(x, make([]int64, len(end)), end)
		width += extra
		block = blockOf(width, step)
		whole := slices.Clone(g.shape(x))
		x = g.reordered(x, step*block, step*block, func(i int64) int64 { return i%step*block + i/step })
		x = g.reshape(x, whole...)
	}
	s := g.shape(x)
	split, deep := []int64{s[0], s[1]}, []int64{s[0], size(stride) * s[1]}
	phases, places := []int64{0}, []int64{1}
	for k, by := range stride[:last] {
		split, deep = append(split, s[2+k]/by, by), append(deep, s[2+k]/by)
		places, phases = append(places, int64(2+2*k)), append(phases, int64(3+2*k))
	}
	at := int64(len(split))
	split, deep = append(split, width/block, step, block), append(deep, width)
	places, phases = append(places, at, at+2), append(phases, at+1)
	return g.reshape(g.transpose(g.reshape(x, split...), append(phases, places...)...), deep...)
}

// indices splits a row-major index.
func indices(i int64, shape []int64) []int64 {
	at := make([]int64, len(shape))
	for k := len(shape) - 1; k >= 0; k-- {
		at[k], i = i%shape[k], i/shape[k]
	}
	return at
}

// index joins a row-major index.
func index(at, shape []int64) int64 {
	var i int64
	for k, n := range shape {
		i = i*n + at[k]
	}
	return i
}
