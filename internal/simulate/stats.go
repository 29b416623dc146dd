package simulate

import "math"

// Interval is a mean over seeds with its 95 % confidence interval: mean ±
// t·s/√n with n-1 degrees of freedom. With one seed there is no interval, and
// Low and High are the mean.
type Interval struct {
	Mean   float64 `json:"mean"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Values int     `json:"values"`
}

// Differs tells whether 0 lies outside of an interval of at least two values.
func (i Interval) Differs() bool { return i.Values > 1 && (i.Low > 0 || i.High < 0) }

func intervalOf(v []float64) Interval {
	n := float64(len(v))
	if n == 0 {
		return Interval{}
	}
	var mean float64
	for _, x := range v {
		mean += x / n
	}
	out := Interval{Mean: mean, Low: mean, High: mean, Values: len(v)}
	if len(v) < 2 {
		return out
	}
	half := quantileT(len(v)-1) * deviation(v, mean) / math.Sqrt(n)
	out.Low, out.High = mean-half, mean+half
	return out
}

// deviation is the standard deviation with n-1.
func deviation(v []float64, mean float64) float64 {
	var sum float64
	for _, x := range v {
		sum += (x - mean) * (x - mean)
	}
	return math.Sqrt(sum / float64(len(v)-1))
}

// quantileT is the 0.975 quantile of Student's t distribution with df degrees of
// freedom, to four digits: a table up to 10, above it the expansion in 1/df of
// Abramowitz and Stegun, 26.7.5.
func quantileT(df int) float64 {
	table := [...]float64{12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281}
	if df >= 1 && df <= len(table) {
		return table[df-1]
	}
	const z = 1.959963985
	n, z3, z5, z7, z9 := float64(df), z*z*z, math.Pow(z, 5), math.Pow(z, 7), math.Pow(z, 9)
	return z + (z3+z)/(4*n) + (5*z5+16*z3+3*z)/(96*n*n) + (3*z7+19*z5+17*z3-15*z)/(384*n*n*n) +
		(79*z9+776*z7+1482*z5-1920*z3-945*z)/(92160*n*n*n*n)
}

// differences returns a - b, element by element.
func differences(a, b []float64) []float64 {
	out := make([]float64, min(len(a), len(b)))
	for i := range out {
		out[i] = a[i] - b[i]
	}
	return out
}
