package design

import (
	"cmp"
	"maps"
	"math"
	"slices"
)

// Intensity summarises the values of one channel over all cases. Percentiles
// are interpolated between sorted values; values are sampled evenly, at most
// maxSamples per case, so that every case counts alike.
type Intensity struct {
	Mean   float64 `json:"mean"`
	Std    float64 `json:"std"` // of the population
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Median float64 `json:"median"`
	Low    float64 `json:"percentile_00_5"`
	High   float64 `json:"percentile_99_5"`
}

// maxSamples is the number of values that a case adds to the pool.
const maxSamples = 10_000

// samples are values of one channel of one case: evenly spaced ones, and the
// range of all.
type samples struct {
	values   []float32
	min, max float64
}

// sampler takes every n-th of a known number of values.
type sampler struct {
	samples
	every, seen int
}

func newSampler(n int) *sampler {
	return &sampler{samples: samples{min: math.Inf(1), max: math.Inf(-1)}, every: max((n+maxSamples-1)/maxSamples, 1)}
}

func (s *sampler) add(v float32) {
	s.min, s.max = math.Min(s.min, float64(v)), math.Max(s.max, float64(v))
	if s.seen%s.every == s.every/2 {
		s.values = append(s.values, v)
	}
	s.seen++
}

// pooled summarises the samples that pick takes from every case.
func pooled(cases []CaseFingerprint, pick func(*CaseFingerprint) samples) Intensity {
	var all []float64
	sum := 0.0
	r := Intensity{Min: math.Inf(1), Max: math.Inf(-1)}
	for i := range cases {
		s := pick(&cases[i])
		for _, v := range s.values {
			all = append(all, float64(v))
			sum += float64(v)
		}
		r.Min, r.Max = math.Min(r.Min, s.min), math.Max(r.Max, s.max)
	}
	if len(all) == 0 {
		return Intensity{}
	}
	r.Mean = sum / float64(len(all))
	squares := 0.0
	for _, v := range all {
		squares += (v - r.Mean) * (v - r.Mean)
	}
	r.Std = math.Sqrt(squares / float64(len(all)))
	slices.Sort(all)
	r.Low, r.Median, r.High = sortedQuantile(all, 0.005), sortedQuantile(all, 0.5), sortedQuantile(all, 0.995)
	return r
}

// quantile interpolates linearly between the sorted values (NumPy's default).
func quantile(v []float64, q float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return sortedQuantile(v, q)
}

func sortedQuantile(v []float64, q float64) float64 {
	at := q * float64(len(v)-1)
	i := int(at)
	if i+1 >= len(v) {
		return v[len(v)-1]
	}
	return v[i] + (at-float64(i))*(v[i+1]-v[i])
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
