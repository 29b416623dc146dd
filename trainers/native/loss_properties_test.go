package native

import (
	"encoding/binary"
	"fmt"
	"math"
	"sort"
	"testing"

	"github.com/voxloop/voxloop/internal/testkit"
)

// everyLoss has each loss with its class weights, for 3 channels.
var everyLoss = map[string]Loss{
	"dice":              Dice{Weights: []float64{0.5, 1, 2}},
	"dice sigmoid":      Dice{Sigmoid: true, NoBackground: true},
	"dice batch":        Dice{Batch: true, Squared: true},
	"cross-entropy":     CrossEntropy{},
	"weighted CE":       CrossEntropy{Weights: []float64{0.5, 1, 2}, Smooth: 0.1},
	"dice + CE":         DiceCE(),
	"dice + focal":      Combined{{1, Dice{}}, {1, Focal{Gamma: 2}}},
	"focal":             Focal{Gamma: 0.5, Weights: []float64{0.5, 1, 2}},
	"focal sigmoid":     Focal{Sigmoid: true, Gamma: 2, Alpha: 0.25},
	"top-k":             TopK{Percent: 20},
	"weighted top-k":    TopK{Percent: 35, Weights: []float64{0.5, 1, 2}},
	"tversky":           Tversky{Alpha: 0.3, Beta: 0.7, Weights: []float64{0.5, 1, 2}},
	"generalised dice":  GeneralizedDice{Weights: []float64{0.5, 1, 2}},
	"generalised batch": GeneralizedDice{Batch: true, Weighting: ByVolume},
}

const ignored = 7

// floatArray is an array as if it had been read from a file.
func floatArray(v []float32, shape ...int) testkit.NPY {
	raw := make([]byte, 0, 4*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return testkit.NPY{DType: "<f4", Shape: shape, Raw: raw}
}

// scene makes logits [2, C, planes, 5] and labels; the planes from `from` on
// have the ignored label.
func scene(channels, planes, from int) (logits, labels testkit.NPY) {
	var x, y []float32
	for n := range 2 {
		for c := range channels {
			for i := range planes * 5 {
				x = append(x, float32(2*math.Sin(float64(1+i+17*c+31*n))))
			}
		}
		for i := range planes * 5 {
			v := float32((i*i + i/3 + n) % max(channels, 2))
			if i >= from*5 {
				v = ignored
			}
			y = append(y, v)
		}
	}
	return floatArray(x, 2, channels, planes, 5), floatArray(y, 2, 1, planes, 5)
}

// TestIgnoredVoxelsAreNotThere: a volume whose last planes are ignored has the
// loss and the gradients of the volume without them, and gradients of exactly 0
// in these planes.
func TestIgnoredVoxelsAreNotThere(t *testing.T) {
	const planes, kept = 6, 4
	for name, l := range everyLoss {
		t.Run(name, func(t *testing.T) {
			logits, labels := scene(3, planes, kept)
			loss, grad := evaluate(t, l, ignored, logits, labels)
			small, smallLabels := scene(3, kept, kept)
			want, wantGrad := evaluate(t, l, 0, small, smallLabels)
			if math.Abs(loss-want) > 2e-6*math.Max(1, want) {
				t.Errorf("loss %.8g instead of %.8g", loss, want)
			}
			var got []float32
			for i, v := range grad {
				switch plane := i / 5 % planes; {
				case plane < kept:
					got = append(got, v)
				case v != 0:
					t.Fatalf("gradient %g at an ignored voxel", v)
				}
			}
			if e := relative(got, wide(wantGrad)); !(e <= 1e-5) {
				t.Errorf("gradient off by %.1e", e)
			}
			if loss, grad := evaluate(t, l, ignored, logits, floatArray(repeat(ignored, labels.Len()), labels.Shape...)); !finite(loss) || !allZero(grad) {
				t.Errorf("all voxels ignored: loss %g, or a gradient", loss)
			}
		})
	}
}

// MaskedDice has no gradient at ignored voxels either, although they count.
func TestMaskedDiceKeepsIgnoredVoxels(t *testing.T) {
	logits, labels := scene(3, 6, 4)
	loss, grad := evaluate(t, MaskedDice{}, ignored, logits, labels)
	for i, v := range grad {
		if i/5%6 >= 4 && v != 0 {
			t.Fatalf("gradient %g at an ignored voxel", v)
		}
	}
	if dice, _ := evaluate(t, Dice{}, ignored, logits, labels); math.Abs(dice-loss) < 1e-3 {
		t.Errorf("both losses are %g", loss)
	}
	a, _ := evaluate(t, MaskedDice{}, 0, logits, labels)
	if b, _ := evaluate(t, Dice{}, 0, logits, labels); a != b {
		t.Errorf("without such a label %g instead of Dice's %g", a, b)
	}
}

func repeat(v float32, n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = v
	}
	return out
}

func allZero(v []float32) bool {
	for _, x := range v {
		if x != 0 {
			return false
		}
	}
	return true
}

// TestEveryLossOnSeveralOutputs: deep supervision is the weighted sum of the
// losses at each size; an output of weight 0 has no part.
func TestEveryLossOnSeveralOutputs(t *testing.T) {
	weights := []float64{0.6, 0.3, 0}
	for name, l := range everyLoss {
		t.Run(name, func(t *testing.T) {
			fine, labels := scene(3, 6, 4)
			middle, _ := scene(3, 3, 3)
			coarse, _ := scene(3, 2, 2)
			loss, grads := evaluateHeads(t, l, ignored, []testkit.NPY{fine, middle, coarse}, labels, weights)
			var half []float32 // the labels of every second plane: index floor((i + ½)·2)
			for i, v := range labels.F32(t) {
				if i/5%2 == 1 {
					half = append(half, v)
				}
			}
			want, first := evaluate(t, l, ignored, fine, labels)
			second, other := evaluate(t, l, ignored, middle, floatArray(half, 2, 1, 3, 5))
			if d := math.Abs(loss - 0.6*want - 0.3*second); d > 1e-6*math.Max(1, loss) {
				t.Errorf("loss %g instead of %g", loss, 0.6*want+0.3*second)
			}
			for i, want := range [][]float32{first, other} {
				for k := range want {
					want[k] *= float32(weights[i])
				}
				if e := relative(grads[i], wide(want)); !(e <= 1e-5) {
					t.Errorf("gradient of output %d is off by %.1e", i, e)
				}
			}
			if !allZero(grads[2]) {
				t.Error("an output of weight 0 has a gradient")
			}
		})
	}
}

// TestLossesByTheirFormulas: options that no golden has against the formula in
// float64, gradients against its central differences.
func TestLossesByTheirFormulas(t *testing.T) {
	w := []float64{0.5, 1, 2}
	for i, c := range []struct {
		loss     Loss
		channels int
		formula  func(p voxels) float64
	}{
		{CrossEntropy{Weights: []float64{3}}, 1, func(p voxels) float64 { return p.binary(3, 0) }},
		{CrossEntropy{Smooth: 0.2}, 1, func(p voxels) float64 { return p.binary(1, 0.2) }},
		{CrossEntropy{Weights: []float64{3}, Smooth: 0.2}, 1, func(p voxels) float64 { return p.binary(3, 0.2) }},
		{TopK{Percent: 30, Weights: w}, 3, func(p voxels) float64 { return p.topK(0.3, w) }},
		{Tversky{Alpha: 0.3, Beta: 0.7, Weights: w, Smoothing: Smoothing{1e-5, 1e-5}}, 3, func(p voxels) float64 { return p.tversky(0.3, 0.7, w) }},
		{GeneralizedDice{Weights: w, Smoothing: Smoothing{1e-5, 1e-5}}, 3, func(p voxels) float64 { return p.generalised(w) }},
		{Focal{Gamma: 0.5}, 3, func(p voxels) float64 { return p.focal(0.5) }},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			logits, labels := scene(c.channels, 4, 4)
			loss, grad := evaluate(t, c.loss, 0, logits, labels)
			v := voxels{logits.F64(t), labels.F64(t), c.channels, 20}
			if want := c.formula(v); math.Abs(loss-want) > 2e-6*math.Max(1, want) {
				t.Errorf("loss %.8g instead of %.8g", loss, want)
			}
			var slopes []float64
			for k := range v.x {
				x, h := v.x[k], 1e-5
				v.x[k] = x + h
				up := c.formula(v)
				v.x[k] = x - h
				slopes = append(slopes, (up-c.formula(v))/(2*h))
				v.x[k] = x
			}
			if e := relative(grad, slopes); !(e <= 1e-5) {
				t.Errorf("gradient off by %.1e", e)
			}
		})
	}
}

// voxels are logits [2, channels, n] and labels [2, n] for plain formulas.
type voxels struct {
	x, y        []float64
	channels, n int
}

func (v voxels) at(sample, class, i int) float64 { return v.x[(sample*v.channels+class)*v.n+i] }
func (v voxels) label(sample, i int) int         { return int(v.y[sample*v.n+i]) }

// p is the softmax.
func (v voxels) p(sample, class, i int) float64 {
	sum := 0.0
	for c := range v.channels {
		sum += math.Exp(v.at(sample, c, i))
	}
	return math.Exp(v.at(sample, class, i)) / sum
}

// each calls f for every voxel of both samples.
func (v voxels) each(f func(sample, i, label int)) {
	for s := range 2 {
		for i := range v.n {
			f(s, i, v.label(s, i))
		}
	}
}

func (v voxels) binary(weight, smooth float64) float64 {
	sum := 0.0
	v.each(func(s, i, label int) {
		y, p := float64(label)*(1-smooth)+smooth/2, 1/(1+math.Exp(-v.at(s, 0, i)))
		sum -= weight*y*math.Log(p) + (1-y)*math.Log(1-p)
	})
	return sum / float64(2*v.n)
}

func (v voxels) topK(share float64, w []float64) float64 {
	var list []float64
	v.each(func(s, i, label int) { list = append(list, -w[label]*math.Log(v.p(s, label, i))) })
	sort.Sort(sort.Reverse(sort.Float64Slice(list)))
	sum, k := 0.0, int(float64(len(list))*share)
	for _, l := range list[:k] {
		sum += l
	}
	return sum / float64(k)
}

func (v voxels) focal(gamma float64) float64 {
	sum := 0.0
	v.each(func(s, i, label int) {
		p := v.p(s, label, i)
		sum -= math.Pow(1-p, gamma) * math.Log(p)
	})
	return sum / float64(2*v.n*v.channels)
}

// overlap returns Σ p·t, Σ p and Σ t of a class in a sample.
func (v voxels) overlap(sample, class int) (both, p, t float64) {
	for i := range v.n {
		q := v.p(sample, class, i)
		p += q
		if v.label(sample, i) == class {
			both += q
			t++
		}
	}
	return both, p, t
}

func (v voxels) tversky(alpha, beta float64, w []float64) float64 {
	sum := 0.0
	for s := range 2 {
		for c := range v.channels {
			both, p, t := v.overlap(s, c)
			sum += w[c] * (1 - (both+1e-5)/(both+alpha*(p-both)+beta*(t-both)+1e-5))
		}
	}
	return sum / float64(2*v.channels)
}

func (v voxels) generalised(w []float64) float64 {
	sum := 0.0
	for s := range 2 {
		num, den := 1e-5, 1e-5
		for c := range v.channels {
			both, p, t := v.overlap(s, c)
			num += 2 * w[c] / (t * t) * both
			den += w[c] / (t * t) * (p + t)
		}
		sum += 1 - num/den
	}
	return sum / 2
}
