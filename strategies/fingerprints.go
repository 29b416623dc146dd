package strategies

import (
	"fmt"
	"math"
	"slices"
)

// Robust statistics of the pool's fingerprints are taken of at most
// printSample images, from printLeast on, and again whenever a quarter more
// have come in.
const (
	printSample = 2048
	printLeast  = 10
)

// fingerprints compares images by their fingerprints.
type fingerprints struct {
	count         int // images with a fingerprint
	next          int // count at which the statistics are taken again
	centre, scale []float64
}

// put notes c's fingerprint and reports whether the statistics are due. One of
// another form is ignored. c must be in no list: its flag may change.
func (f *fingerprints) put(c *candidate, numbers []float32) (refit bool) {
	if len(numbers) != printNumbers || !finite(numbers) {
		return false
	}
	if c.print == nil {
		f.count++
	}
	c.print = numbers
	c.far = f.distance(numbers)
	return f.count >= max(f.next, printLeast)
}

func (f *fingerprints) forget(c *candidate) {
	if c.print != nil {
		f.count--
	}
}

// distance is the root mean square over the fingerprint's numbers of their
// difference from the pool's median in units of 1.4826 MAD (a standard
// deviation, for normal numbers). 0 while the pool is unknown.
func (f *fingerprints) distance(numbers []float32) float64 {
	if len(f.centre) == 0 {
		return 0
	}
	var sum float64
	for d, v := range numbers {
		z := (float64(v) - f.centre[d]) / f.scale[d]
		sum += z * z
	}
	return math.Sqrt(sum / float64(len(numbers)))
}

// standard returns a fingerprint in units of the pool's spread, cut at ±10, for
// distances between images.
func (f *fingerprints) standard(numbers []float32) []float32 {
	if len(f.centre) == 0 || len(numbers) == 0 {
		return nil
	}
	out := make([]float32, len(numbers))
	for d, v := range numbers {
		out[d] = float32(min(max((float64(v)-f.centre[d])/f.scale[d], -10), 10))
	}
	return out
}

// refit takes the statistics again and flags all images by them.
func (x *Index) refit() {
	f := &x.prints
	f.next = f.count + f.count/4 + 1
	var sample [][]float32
	step := (f.count + printSample - 1) / printSample
	seen := 0
	for _, c := range x.slots {
		if c == nil || c.print == nil {
			continue
		}
		if seen%step == 0 {
			sample = append(sample, c.print)
		}
		seen++
	}
	f.centre, f.scale = spread(sample)
	for _, c := range x.slots {
		if c == nil || c.print == nil {
			continue
		}
		far := f.distance(c.print)
		if c.place == inFlagged || (far > x.opts.FarOff) != (c.far > x.opts.FarOff) {
			x.leave(c)
		}
		c.far = far
		x.settle(c)
	}
}

// spread returns median and scale of each number of fingerprints. The scale is
// 1.4826 MAD, but not less than a difference that means nothing: 0.05 of the
// range or of a share, 10 % of a range or length.
func spread(sample [][]float32) (centre, scale []float64) {
	dims := len(sample[0])
	centre, scale = make([]float64, dims), make([]float64, dims)
	column := make([]float64, len(sample))
	for d := range dims {
		for i, p := range sample {
			column[i] = float64(p[d])
		}
		centre[d] = median(column)
		for i, v := range column {
			column[i] = math.Abs(v - centre[d])
		}
		least := 0.05
		if d == printRange || d >= printOffset {
			least = 0.1
		}
		scale[d] = max(1.4826*median(column), least)
	}
	return centre, scale
}

// median sorts v.
func median(v []float64) float64 {
	slices.Sort(v)
	n := len(v)
	if n%2 == 1 {
		return v[n/2]
	}
	return (v[n/2-1] + v[n/2]) / 2
}

// flaggedNow tells whether c is to be asked for last.
func (x *Index) flaggedNow(c *candidate) bool { return len(x.flags(c)) > 0 }

// flags says what speaks against an image.
func (x *Index) flags(c *candidate) []string {
	var out []string
	if c.corrupt != "" {
		out = append(out, c.corrupt)
	}
	for _, l := range c.looks {
		if l.corrupt != "" && !slices.Contains(out, l.corrupt) {
			out = append(out, l.corrupt)
		}
	}
	if x.opts.FarOff > 0 && c.far > x.opts.FarOff {
		out = append(out, fmt.Sprintf("intensities or geometry far from the other images' (robust distance %.1f)", c.far))
	}
	return out
}

// flagKey orders flagged images: the farther off the later, corrupt ones last.
func (c *candidate) flagKey() key {
	if c.corrupt != "" {
		return key{score: math.Inf(-1), c: c}
	}
	for _, l := range c.looks {
		if l.corrupt != "" {
			return key{score: math.Inf(-1), c: c}
		}
	}
	return key{score: -c.far, c: c}
}

// Flags returns what speaks against an image: why it is corrupt, or that it is
// far off. Empty: nothing.
func (x *Index) Flags(id string) []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.images[id]
	if c == nil {
		return nil
	}
	return x.flags(c)
}
