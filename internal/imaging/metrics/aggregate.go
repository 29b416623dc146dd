package metrics

import (
	"math"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
)

// Reduction says how a table of values by case and class becomes one number or
// a few. NaN is left out of every sum and mean.
//
// Source: MONAI do_metric_reduction.
type Reduction int

// The reductions. Mean takes the mean over classes first, then over the cases
// that have any value.
const (
	Mean        Reduction = iota // one number
	Sum                          // one number
	MeanBatch                    // per class, over the cases
	SumBatch                     // per class, over the cases
	MeanChannel                  // per case, over the classes
	SumChannel                   // per case, over the classes
)

// Reduce applies a reduction to rows of cases, columns of classes. It returns
// the values, and of how many defined ones each is made: for Mean the number of
// cases that have any. What is made of none is 0. Rows of different lengths are
// Invalid (imaging.ErrShape).
func Reduce(rows [][]float64, r Reduction) (values []float64, defined []int, err error) {
	for _, row := range rows {
		if len(row) != len(rows[0]) {
			return nil, nil, fault.Wrap(fault.Invalid, imaging.ErrShape, "rows of %d and %d values", len(rows[0]), len(row))
		}
	}
	switch r {
	case MeanBatch, SumBatch:
		rows = transpose(rows)
	case Sum:
		var all []float64
		for _, row := range rows {
			all = append(all, row...)
		}
		rows = [][]float64{all}
	case Mean, MeanChannel, SumChannel:
	}
	values, defined = sums(rows)
	if r == Sum || r == SumBatch || r == SumChannel {
		return values, defined, nil
	}
	for i, n := range defined {
		if n > 0 {
			values[i] /= float64(n)
		}
	}
	if r != Mean {
		return values, defined, nil
	}
	var mean float64
	cases := 0
	for i, n := range defined {
		if n > 0 {
			mean += values[i]
			cases++
		}
	}
	if cases > 0 {
		mean /= float64(cases)
	}
	return []float64{mean}, []int{cases}, nil
}

func sums(rows [][]float64) (values []float64, defined []int) {
	for _, row := range rows {
		var sum float64
		n := 0
		for _, v := range row {
			if !math.IsNaN(v) {
				sum += v
				n++
			}
		}
		values, defined = append(values, sum), append(defined, n)
	}
	return values, defined
}

func transpose(rows [][]float64) [][]float64 {
	if len(rows) == 0 {
		return nil
	}
	out := make([][]float64, len(rows[0]))
	for _, row := range rows {
		for i, v := range row {
			out[i] = append(out[i], v)
		}
	}
	return out
}
