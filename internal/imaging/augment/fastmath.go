package augment

import "math"

// Logarithm and exponential to base 2 for work over all voxels: tables of 128
// intervals and short series. The errors, 1e-10 absolute for the logarithm and
// 4e-9 relative for the exponential, are far below a float32's step.
const (
	curveBits = 7
	curveMask = 1<<curveBits - 1
	roundHalf = 3 << 51 // added to a small float64, it leaves the integer part in the low bits
	least     = -1000   // exponents below it give 0
)

var (
	logTable [1 << curveBits]struct{ inv, log float64 } // 1/m and log2(m) at interval centres m
	expTable [1 << curveBits]float64                    // 2^(i/128)
)

func init() {
	for i := range logTable {
		m := 1 + (float64(i)+0.5)/(1<<curveBits)
		logTable[i].inv, logTable[i].log = 1/m, math.Log2(m)
		expTable[i] = math.Exp2(float64(i) / (1 << curveBits))
	}
}

// log2 returns the logarithm of a positive, normal x.
func log2(x float64) float64 {
	b := math.Float64bits(x)
	t := &logTable[b>>(52-curveBits)&curveMask]
	u := math.Float64frombits(b&(1<<52-1)|1023<<52)*t.inv - 1 // |u| ≤ 2⁻⁸
	const c = math.Log2E
	e := math.Float64frombits(b>>52|1075<<52) - (1<<52 + 1023) // the exponent, by way of the mantissa
	return e + t.log + u*(c-u*(c/2-u*(c/3)))
}

// exp2 returns 2^y for y up to 1000.
func exp2(y float64) float64 {
	if y < least {
		return 0
	}
	r := y*(1<<curveBits) + roundHalf
	n := int64(math.Float64bits(r)) << 13 >> 13              //nolint:gosec // the nearest integer, from the low bits
	u := (y - (r-roundHalf)*(1.0/(1<<curveBits))) * math.Ln2 // |u| ≤ 2⁻⁸·ln 2
	scale := math.Float64frombits(uint64(n>>curveBits+1023) << 52)
	return scale * expTable[n&curveMask] * (1 + u*(1+u*0.5))
}
