package evaluate

import (
	"math"
	"math/rand/v2"
	"testing"
)

func summed(t *testing.T, values []float64, resamples int, seed uint64) Statistics {
	t.Helper()
	s, err := bootstrap{resamples, seed}.describe(t.Context(), values, 1)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestInterval compares with the normal approximation, which holds for many
// cases, and checks that the seed alone decides.
func TestInterval(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	values := make([]float64, 400)
	for i := range values {
		values[i] = 0.8 + 0.1*r.NormFloat64()
	}
	a := summed(t, values, 2000, 5)
	half := 1.96 * *a.Std / math.Sqrt(400)
	if d := math.Abs(*a.Low - (*a.Mean - half)); d > 0.1*half {
		t.Errorf("low %v, want about %v", *a.Low, *a.Mean-half)
	}
	if d := math.Abs(*a.High - (*a.Mean + half)); d > 0.1*half {
		t.Errorf("high %v, want about %v", *a.High, *a.Mean+half)
	}
	if b := summed(t, values, 2000, 5); *b.Low != *a.Low || *b.High != *a.High {
		t.Error("the same seed gave another interval")
	}
	if b := summed(t, values, 2000, 6); *b.Low == *a.Low && *b.High == *a.High {
		t.Error("another seed gave the same interval")
	}
}

func TestDescribe(t *testing.T) {
	s := summed(t, []float64{3, math.NaN(), 1, math.Inf(1), 2, 6}, 100, 1)
	if s.N != 4 || s.Undefined != 1 || s.Infinite != 1 || *s.Mean != 3 || *s.Median != 2.5 || *s.Min != 1 || *s.Max != 6 {
		t.Errorf("%+v", s)
	}
	if want := math.Sqrt(14.0 / 3); math.Abs(*s.Std-want) > 1e-12 {
		t.Errorf("std %v, want %v", *s.Std, want)
	}
	if s := summed(t, []float64{math.NaN()}, 100, 1); s.N != 0 || s.Undefined != 1 || s.Mean != nil || s.Low != nil {
		t.Errorf("nothing: %+v", s)
	}
	if s := summed(t, []float64{0.5}, 100, 1); *s.Low != 0.5 || *s.High != 0.5 || s.Std != nil {
		t.Errorf("one value: %+v", s)
	}
}
