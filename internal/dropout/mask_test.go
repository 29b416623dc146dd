package dropout

import (
	"math"
	"slices"
	"sync"
	"testing"
)

const many = 1 << 18

func fill(k Key, ratio float64) []uint8 {
	m := make([]uint8, many)
	Fill(m, 0, k, ratio)
	return m
}

// The share of dropped values lies within five standard errors of the ratio,
// runs of equal values are as long as they must be, and the scale keeps the mean.
func TestShares(t *testing.T) {
	for _, ratio := range []float64{0, 0.001, 0.1, 0.2, 0.5, 0.9, 0.99} {
		m := fill(Key{Seed: 11, Pass: 3, Node: "n"}, ratio)
		kept, changes := 0, 0
		for i, v := range m {
			if v > 1 {
				t.Fatalf("a mask holds %d", v)
			}
			kept += int(v)
			if i > 0 && v != m[i-1] {
				changes++
			}
		}
		sd := math.Sqrt(ratio * (1 - ratio) / many)
		if d := 1 - float64(kept)/many - ratio; math.Abs(d) > 5*sd+1.0/grain {
			t.Errorf("ratio %g: off by %.5f, standard error %.5f", ratio, d, sd)
		}
		if p := 2 * ratio * (1 - ratio); math.Abs(float64(changes)/many-p) > 5*math.Sqrt(p/many)+1e-4 {
			t.Errorf("ratio %g: %d changes of %d, want a share of %.4f", ratio, changes, many, p)
		}
		if want := 1 / (1 - ratio); math.Abs(Scale(ratio)-want) > want*want/grain {
			t.Errorf("ratio %g: scale %g instead of %g", ratio, Scale(ratio), want)
		}
	}
	if Scale(0.25) != 4.0/3 {
		t.Errorf("scale %g of a ratio that 16 bits hold exactly", Scale(0.25))
	}
}

// A value depends on its number alone: masks filled in parts, in any order and
// by any number of goroutines, are the same.
func TestPartsAreTheWhole(t *testing.T) {
	k := Key{Seed: 1, Pass: 2, Node: "part"}
	whole := make([]uint8, 1003)
	Fill(whole, 0, k, 0.3)
	for _, size := range []int{1, 7, 16, 100, 333} {
		parts := make([]uint8, len(whole))
		var wg sync.WaitGroup
		for from := 0; from < len(parts); from += size {
			wg.Go(func() { Fill(parts[from:min(from+size, len(parts))], from, k, 0.3) })
		}
		wg.Wait()
		if !slices.Equal(parts, whole) {
			t.Errorf("parts of %d differ from the whole", size)
		}
	}
}

// Masks whose keys differ in one part are independent, neighbouring passes
// above all (ONNX Runtime's are not): no correlation, not even shifted by a few
// values, and over many passes every value is dropped at its own times.
func TestMasksAreApart(t *testing.T) {
	const ratio = 0.3
	base := Key{Seed: 1, Pass: 1, Node: "a"}
	list := map[string][]uint8{
		"base": fill(base, ratio), "seed": fill(Key{2, 1, "a"}, ratio), "node": fill(Key{1, 1, "b"}, ratio),
		"pass": fill(Key{1, 2, "a"}, ratio), "next": fill(Key{1, 3, "a"}, ratio), "swapped": fill(Key{3, 1, "a"}, ratio),
	}
	correlation := func(a, b []uint8) float64 {
		both, p, q := 0.0, 0.0, 0.0
		for i := range a {
			both += float64(a[i] & b[i])
			p += float64(a[i])
			q += float64(b[i])
		}
		n := float64(len(a))
		p, q = p/n, q/n
		return (both/n - p*q) / math.Sqrt(p*(1-p)*q*(1-q))
	}
	for x, a := range list {
		for y, b := range list {
			for _, shift := range []int{0, 1, 2, 16} {
				if x == y && shift == 0 || x > y {
					continue
				}
				if c := correlation(a[shift:], b[:many-shift]); math.Abs(c) > 5/math.Sqrt(many) {
					t.Errorf("%s and %s, shifted by %d, correlate: %.4f", x, y, shift, c)
				}
			}
		}
	}
	const passes = 4000
	var seen [passes][8]uint8
	for p := range seen {
		Fill(seen[p][:], 0, Key{Seed: 9, Pass: uint64(p), Node: "n"}, ratio)
	}
	for i := range seen[0] {
		now, next := make([]uint8, passes-1), make([]uint8, passes-1)
		kept := 0
		for p := range now {
			now[p], next[p] = seen[p][i], seen[p+1][i]
			kept += int(now[p])
		}
		if c := correlation(now, next); math.Abs(c) > 5/math.Sqrt(passes) {
			t.Errorf("value %d: consecutive passes correlate: %.3f", i, c)
		}
		if d := float64(kept)/passes - (1 - ratio); math.Abs(d) > 5*math.Sqrt(ratio*(1-ratio)/passes) {
			t.Errorf("value %d is off its share by %.3f", i, d)
		}
	}
}

func BenchmarkFill(b *testing.B) {
	m := make([]uint8, 1<<20)
	b.SetBytes(int64(len(m)))
	for i := 0; b.Loop(); i++ {
		Fill(m, 0, Key{Pass: uint64(i), Node: "n"}, 0.2)
	}
}
