package transform

import "context"

// Recipe says how a volume becomes a network's tensor. Its parts run in the
// order of the fields and mean the same as the single steps; the zero value of
// each leaves that part out.
type Recipe struct {
	Order       [3]int      // array axis i runs along grid axis Order[i] of the oriented volume; zero: 0, 1, 2
	Orientation string      // for example "RAS"; "" keeps the volume's axes
	Respace     Respace     // the spacing is along the array axes; Cubic is not for a Pass
	Crop        Region      // nil keeps everything
	Normalize   []Intensity // over the voxels that are left
	Pad         Padding     // after normalising
}

// Intensity is a step on values that a Pass can run: one that looks at single
// values (Pointwise), or one that needs all of them first (Whole).
type Intensity struct {
	row func(v []float32)
	all func(ctx context.Context, c Channels) error
}

// Pointwise is a step whose results hang on single values only. fn changes v
// in place and is called from several goroutines.
func Pointwise(fn func(v []float32)) Intensity {
	return Intensity{row: fn, all: func(ctx context.Context, c Channels) error { return c.each(ctx, fn) }}
}

// Whole is a step over all values, for example
//
//	Whole(func(ctx context.Context, c Channels) error { return c.ZScore(ctx, false) })
func Whole(fn func(ctx context.Context, c Channels) error) Intensity { return Intensity{all: fn} }

// Apply runs the step on channels.
func (s Intensity) Apply(ctx context.Context, c Channels) error { return s.all(ctx, c) }

// LinearStep is Channels.Linear as a pointwise step.
func LinearStep(from, to [2]float64, clip bool) Intensity { return Pointwise(linear(from, to, clip)) }
