package harmonize

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/voxloop/voxloop/internal/fault"
)

// Load reads image i of a set. It is called from several goroutines, and a
// second time for the same image where exact percentiles over the whole set
// need it.
type Load func(ctx context.Context, i int) (Sample, error)

// FitOptions say what is learned. Method is needed; otherwise the zero value
// works.
type FitOptions struct {
	Method      Method
	Foreground  Foreground // "": the method's default
	Modality    string     // kept in the model
	Percentiles []float64  // nyul; nil: 1, 10, 20, …, 90, 99
	Scale       [2]float64 // nyul; zero: 1 to 100
	Percent     [2]float64 // percentile; zero: 0.5 and 99.5
	To          [2]float64 // percentile; zero: 0 to 1
	Clip        bool       // percentile
	Library     string     // kept in the provenance

	// Progress is told that another image is done; total grows when the set has
	// to be read a second time. It is called by one goroutine at a time.
	Progress func(done, total int)
}

// Failure is an image that could not be used.
type Failure struct {
	Index int
	Err   error
}

func (o *FitOptions) setDefaults() error {
	if o.Foreground == "" {
		o.Foreground = o.Method.DefaultForeground()
	}
	if o.Percentiles == nil {
		o.Percentiles = []float64{1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 99}
	}
	if o.Scale == [2]float64{} {
		o.Scale = [2]float64{1, 100}
	}
	if o.Percent == [2]float64{} {
		o.Percent = [2]float64{0.5, 99.5}
	}
	if o.To == [2]float64{} {
		o.To = [2]float64{0, 1}
	}
	if err := o.Method.CheckForeground(o.Foreground); err != nil {
		return err
	}
	if err := checkPercentiles(o.Percentiles); err != nil {
		return err
	}
	if err := CheckScale(o.Scale); err != nil {
		return err
	}
	return CheckRange(o.Percent, o.To)
}

// Check reports options that cannot be used (fault.Invalid).
func (o FitOptions) Check() error { return o.setDefaults() }

// learner takes in the images of a set, in any order and from several
// goroutines.
type learner interface {
	// first looks at the foreground of image i.
	first(ctx context.Context, i int, s Sample, v []float32) error
	// again reports whether the images are needed a second time; second then
	// looks at them.
	again() bool
	second(ctx context.Context, v []float32) error
	// finish writes the numbers into the model.
	finish(m *Model) error
}

// Fit learns from n images. An image that cannot be read or used is left out
// and returned as a failure, in order; it is an error when none is left. As
// many images as there are cores are held at a time. The model does not depend
// on the number of cores.
func Fit(ctx context.Context, n int, load Load, o FitOptions) (*Model, []Failure, error) {
	if err := o.setDefaults(); err != nil {
		return nil, nil, err
	}
	f := &fitting{load: load, o: o, n: n, total: n, sizes: make([]int, n), errs: make([]error, n)}
	var l learner
	switch o.Method {
	case Nyul:
		l = &nyulLearner{o: o, images: make([][]float64, n)}
	case Histogram:
		l = &histogramLearner{images: make([][]float64, n)}
	case ZScore, ZScoreSite, Percentile, CT:
		l = newPool(o, n)
	}
	err := f.pass(ctx, func(ctx context.Context, i int) error {
		s, v, err := f.sample(ctx, i)
		if err != nil {
			return err
		}
		f.sizes[i] = len(v)
		return l.first(ctx, i, s, v)
	})
	if err != nil {
		return nil, nil, err
	}
	failed := f.failures()
	m := &Model{Version: Version, Method: o.Method, Modality: o.Modality, Foreground: o.Foreground, Provenance: f.provenance()}
	if m.Provenance.Images == 0 {
		return nil, failed, fault.New(fault.Invalid, "none of the %d images can be used", n)
	}
	if m.Provenance.Voxels == 0 {
		return nil, failed, fault.New(fault.Invalid, "no image has any foreground: no voxel is %s", o.Foreground.text())
	}
	if l.again() {
		if err := f.secondPass(ctx, l); err != nil {
			return nil, failed, err
		}
	}
	if err := l.finish(m); err != nil {
		return nil, failed, err
	}
	if err := m.check(); err != nil {
		return nil, failed, fault.New(fault.Invalid, "the images make no scale: %v", err)
	}
	return m, failed, nil
}

// fitting is the way through a set.
type fitting struct {
	load  Load
	o     FitOptions
	n     int
	sizes []int   // of the foregrounds
	errs  []error // why an image is left out

	mu          sync.Mutex
	done, total int
}

// pass calls fn for every image that is not left out. What fn finds wrong with
// an image is kept; only ctx's end stops the pass.
func (f *fitting) pass(ctx context.Context, fn func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range f.n {
		if f.errs[i] != nil {
			continue
		}
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			f.errs[i] = safely(func() error { return fn(ctx, i) })
			if err := ctx.Err(); err != nil {
				return err
			}
			f.progress()
			return nil
		})
	}
	return g.Wait()
}

// safely turns a panic over a strange image into an error.
func safely(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fault.Wrap(fault.Internal, fmt.Errorf("panic: %v\n%s", p, debug.Stack()), "the image could not be looked at")
		}
	}()
	return fn()
}

func (f *fitting) progress() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done++
	if f.o.Progress != nil {
		f.o.Progress(f.done, f.total)
	}
}

// sample reads image i and returns it with its foreground. Only a label map
// may have none.
func (f *fitting) sample(ctx context.Context, i int) (Sample, []float32, error) {
	s, err := f.load(ctx, i)
	if err != nil {
		return s, nil, err
	}
	if err := checkFinite(ctx, s.Values); err != nil {
		return s, nil, err
	}
	if f.o.Method == ZScoreSite && s.Site == "" {
		return s, nil, fault.New(fault.Invalid, "the image belongs to no site")
	}
	if f.o.Foreground == Labelled {
		v, err := f.o.Foreground.values(ctx, s)
		return s, v, err
	}
	v, err := f.o.Foreground.present(ctx, s)
	return s, v, err
}

func (f *fitting) failures() []Failure {
	var out []Failure
	for i, err := range f.errs {
		if err != nil {
			out = append(out, Failure{i, err})
		}
	}
	return out
}

func (f *fitting) provenance() Provenance {
	p := Provenance{Library: f.o.Library}
	for i, err := range f.errs {
		if err != nil {
			p.Skipped++
			continue
		}
		p.Images++
		p.Voxels += f.sizes[i]
		if f.sizes[i] == 0 {
			p.Empty++
		}
	}
	return p
}

// secondPass reads the images that were used again. One that has changed
// meanwhile would make the counts wrong: that is an error.
func (f *fitting) secondPass(ctx context.Context, l learner) error {
	used := f.provenance().Images
	f.total += used
	before := len(f.failures())
	err := f.pass(ctx, func(ctx context.Context, i int) error {
		_, v, err := f.sample(ctx, i)
		if err == nil && len(v) != f.sizes[i] {
			err = fault.New(fault.Conflict, "the image changed while it was read")
		}
		if err != nil {
			return err
		}
		return l.second(ctx, v)
	})
	if err != nil {
		return err
	}
	if failed := f.failures(); len(failed) > before {
		return fault.New(fault.Conflict, "%d images could be read once but not a second time; fit again", len(failed)-before)
	}
	return nil
}
