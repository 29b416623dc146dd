package trainers

import (
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/augment"
)

// noLeak fails when goroutines of the test are left.
func noLeak(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if err := goleak.Find(before); err != nil {
			t.Error(err)
		}
	})
}

func loaderOptions(data Data, cases int) LoaderOptions {
	r := augment.Default()
	return LoaderOptions{
		Data: data, Cases: fakeList(cases), Patch: [3]int{8, 16, 8}, Batch: 3, Seed: 7, Recipe: &r,
		Oversample: 1.0 / 3, CacheBytes: 1 << 30, Workers: 1,
	}
}

// Batches are a function of (options, cases, step): the number of workers, the
// cache and what was asked before change no bit.
func TestBatchesDependOnTheStepAlone(t *testing.T) {
	noLeak(t)
	const steps = 6
	var want []Batch
	first := newTestLoader(t, loaderOptions(newFakeCases(), 5))
	for i := range steps {
		want = append(want, content(t, first, i))
	}
	if slices.Equal(want[0].X, want[1].X) || slices.Equal(want[0].Cases, want[1].Cases) {
		t.Fatal("two steps see the same batch")
	}
	for name, change := range map[string]func(*LoaderOptions){
		"two workers":  func(o *LoaderOptions) { o.Workers = 2 },
		"four workers": func(o *LoaderOptions) { o.Workers, o.Ahead = 4, 5 },
		"no cache":     func(o *LoaderOptions) { o.Workers, o.CacheBytes = 3, -1 },
		"small cache":  func(o *LoaderOptions) { o.CacheBytes = 40_000 },
	} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			o := loaderOptions(newFakeCases(), 5)
			change(&o)
			l := newTestLoader(t, o)
			for _, i := range []int{3, 4, 5, 0, 1, 1, 5, 2} { // a resume, and jumps
				if got := content(t, l, i); !reflect.DeepEqual(got, want[i]) {
					t.Errorf("step %d differs", i)
				}
			}
		})
	}
	o := loaderOptions(newFakeCases(), 5)
	o.Seed++
	if got := content(t, newTestLoader(t, o), 0); slices.Equal(got.X, want[0].X) {
		t.Error("another seed gives the same batch")
	}
}

// Every case comes once per pass, in another order each time.
func TestEveryCaseOncePerPass(t *testing.T) {
	o := loaderOptions(newFakeCases(), 7)
	o.Recipe, o.Batch = nil, 2
	l := newTestLoader(t, o)
	var seen []string
	for i := range 14 {
		seen = append(seen, content(t, l, i).Cases...)
	}
	var all []string
	for k := range 7 {
		all = append(all, fakeID(k))
	}
	orders := map[string]bool{}
	for pass := range slices.Chunk(seen, 7) {
		orders[strings.Join(pass, " ")] = true
		sorted := slices.Clone(pass)
		slices.Sort(sorted)
		if !slices.Equal(sorted, all) {
			t.Errorf("a pass has %v", pass)
		}
	}
	if len(orders) != 4 {
		t.Errorf("%d different orders in 4 passes", len(orders))
	}
}

// Patches show the voxels of their case, and padding around them, labels at the
// same places.
func TestPatchesAreCutOutOfTheCase(t *testing.T) {
	data := newFakeCases()
	data.spec.Padding = -5
	o := loaderOptions(data, 3)
	o.Recipe, o.Oversample = nil, 0
	l := newTestLoader(t, o)
	for i := range 10 {
		b := content(t, l, i)
		for k, id := range b.Cases {
			s, _ := data.Load(t.Context(), Case{ID: id})
			n := len(b.Labels) / 3
			x, labels := b.X[k*n:(k+1)*n], b.Labels[k*n:(k+1)*n]
			base := s.Image[0]
			first := slices.IndexFunc(x, func(v float32) bool { return v != -5 })
			at := int(math.Round(float64(x[first]-base) * 1000))
			o := [3]int{at / (s.Size[1] * s.Size[2]), at / s.Size[2] % s.Size[1], at % s.Size[2]}
			pad := (16 - s.Size[1]) / 2
			for j := range x {
				p := [3]int{o[0] + j/128, j/8%16 - pad, o[2] + j%8}
				want, label := float32(-5), uint16(0)
				if p[1] >= 0 && p[1] < s.Size[1] {
					v := (p[0]*s.Size[1]+p[1])*s.Size[2] + p[2]
					want, label = s.Image[v], s.Labels[v]
				}
				if x[j] != want || labels[j] != float32(label) {
					t.Fatalf("step %d, %s, voxel %d: %g with label %g, want %g with %d", i, id, j, x[j], labels[j], want, label)
				}
			}
		}
	}
}

// At least one patch of a batch of several is centred on foreground, of both
// classes equally often although one has far fewer voxels.
func TestShareOfForeground(t *testing.T) {
	data := newFakeCases()
	data.size = func(int) [3]int { return [3]int{40, 40, 40} }
	for _, tt := range []struct {
		batch     int
		share     float64
		low, high float64 // share of the patches with foreground
	}{
		{2, 1.0 / 3, 0.5, 0.55},
		{3, 1.0 / 3, 0.333, 0.40},
		{4, 0.5, 0.5, 0.55},
		{2, 0.1, 0.5, 0.55},
		{3, 1, 1, 1},
		{2, 0, 0, 0.05},
		{1, 0.5, 0.42, 0.6},
	} {
		o := loaderOptions(data, 4)
		o.Recipe, o.Batch, o.Oversample, o.Patch = nil, tt.batch, tt.share, [3]int{5, 5, 5}
		l := newTestLoader(t, o)
		with := map[float32]int{}
		total, perClass, steps := 0, 0, 600/tt.batch
		for i := range steps {
			b := content(t, l, i)
			inBatch := 0
			for labels := range slices.Chunk(b.Labels, 125) {
				top := slices.Max(labels)
				with[top]++
				total++
				if top > 0 {
					perClass++
					inBatch++
				}
			}
			if tt.batch > 1 && tt.share > 0 && inBatch == 0 {
				t.Fatalf("batch %d of %d: no patch with foreground", i, tt.batch)
			}
		}
		got := float64(perClass) / float64(total)
		if got < tt.low || got > tt.high {
			t.Errorf("batch %d, share %.2f: %.3f of the patches have foreground", tt.batch, tt.share, got)
		}
		if tt.share > 0 {
			if r := float64(with[1]) / float64(with[2]); r < 0.7 || r > 1.45 {
				t.Errorf("batch %d: %d patches of class 1, %d of class 2", tt.batch, with[1], with[2])
			}
		}
	}
}

// Cases that cannot be used are left out by name; the others are trained on.
func TestBadCasesAreLeftOut(t *testing.T) {
	noLeak(t)
	data := newFakeCases()
	data.broken[fakeID(1)] = "17 voxels of channel T1 are not finite numbers"
	data.broken[fakeID(3)] = "the label map holds values that the model does not know: 9"
	o := loaderOptions(data, 5)
	var warnings []string
	o.Warn = func(s string) { warnings = append(warnings, s) }
	l := newTestLoader(t, o)
	if len(warnings) != 2 || !strings.Contains(warnings[0], "case01: 17 voxels") || !strings.Contains(warnings[1], "case03") {
		t.Errorf("warnings %q", warnings)
	}
	if got := l.Cases(); len(got) != 3 || got[1].ID != fakeID(2) {
		t.Errorf("cases %v", got)
	}
	for i := range 4 {
		for _, id := range content(t, l, i).Cases {
			if id == fakeID(1) || id == fakeID(3) {
				t.Errorf("%s is trained on", id)
			}
		}
	}
	for k := range 5 {
		data.broken[fakeID(k)] = "gone"
	}
	_, err := NewLoader(t.Context(), o)
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "case00: gone") {
		t.Errorf("no case left: %v", err)
	}
}

// A case that breaks during the training is replaced, said once.
func TestCaseBreaksLater(t *testing.T) {
	noLeak(t)
	data := newFakeCases()
	o := loaderOptions(data, 4)
	o.CacheBytes = -1
	var warnings []string
	o.Warn = func(s string) { warnings = append(warnings, s) }
	l := newTestLoader(t, o)
	content(t, l, 0)
	data.mu.Lock()
	data.broken[fakeID(2)] = "the file is gone"
	data.mu.Unlock()
	for i := 10; i < 20; i++ {
		if slices.Contains(content(t, l, i).Cases, fakeID(2)) {
			t.Error("the broken case is trained on")
		}
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "case02: the file is gone") {
		t.Errorf("warnings %q", warnings)
	}
	data.mu.Lock()
	for k := range 4 {
		data.broken[fakeID(k)] = "the disk is gone"
	}
	data.mu.Unlock()
	if _, err := l.Next(t.Context(), 50); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no case left: %v", err)
	}
}

// The cache keeps what fits, and only training cases.
func TestCacheKeepsItsBudget(t *testing.T) {
	data := newFakeCases()
	data.size = func(int) [3]int { return [3]int{10, 10, 10} } // 6000 bytes
	c := NewCache(data, 13_000)
	for range 3 {
		for k := range 4 {
			if _, err := c.Load(t.Context(), Case{ID: fakeID(k), Role: Train}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if c.Used() != 12_000 {
		t.Errorf("%d bytes are kept", c.Used())
	}
	for k, want := range []int{1, 1, 3, 3} {
		if n := data.loaded(fakeID(k)); n != want {
			t.Errorf("case %d was loaded %d times, want %d", k, n, want)
		}
	}
	for range 2 {
		if _, err := c.Load(t.Context(), Case{ID: fakeID(0), Role: Validate}); err != nil {
			t.Fatal(err)
		}
	}
	if n := data.loaded(fakeID(0)); n != 3 {
		t.Errorf("a case for validation was loaded %d times", n-1)
	}
	kept, err := c.Load(t.Context(), Case{ID: fakeID(1), Role: Train})
	if err != nil {
		t.Fatal(err)
	}
	fresh, _ := data.Load(t.Context(), Case{ID: fakeID(1)})
	if !reflect.DeepEqual(kept, fresh) {
		t.Error("what is kept is not the case")
	}
	c.hold()
	if err := errors.Join(c.Close(), c.Close()); err != nil || data.closed != 1 {
		t.Errorf("%v, closed %d times", err, data.closed)
	}
	if kept.Image[3] != fresh.Image[3] { // still mapped
		t.Error("memory changed while it is held")
	}
	c.drop()
	if c.Used() != 0 {
		t.Error("memory is kept after the last user")
	}
	if _, err := c.Load(t.Context(), Case{ID: fakeID(1), Role: Train}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("after Close: %v", err)
	}
}

// Where voxels are unlabelled, patches are centred on labelled ones, and never
// on the ignored as if it were a class.
func TestIgnoredVoxels(t *testing.T) {
	const ignored = 9
	s := &Sample{ID: "c", Size: [3]int{4, 10, 10}, Labels: make([]uint16, 400)}
	for i := range s.Labels {
		s.Labels[i] = ignored
	}
	for i := 100; i < 200; i++ {
		s.Labels[i] = uint16(i % 3)
	}
	p := placesOf(s, ignored, 1)
	if len(p.classes) != 2 || len(p.labelled) != 100 {
		t.Fatalf("%d classes, %d labelled voxels", len(p.classes), len(p.labelled))
	}
	for i := range 50 {
		v, ok := p.choose(i%2 == 0, newDraws(1, forPatch, "c", i))
		if !ok || v[0] != 1 {
			t.Fatalf("patch %d is centred on %v (%t)", i, v, ok)
		}
	}
	if p := placesOf(s, 0, 1); p.labelled != nil || len(p.classes) != 3 {
		t.Error("without an ignored class it is one like the others")
	}
}

// The remembered voxels are of their class, spread over all of them, and
// bounded.
func TestPlacesAreSpreadAndBounded(t *testing.T) {
	s := &Sample{ID: "c", Size: [3]int{1, 1, 300_000}, Labels: make([]uint16, 300_000)}
	for i := range s.Labels {
		s.Labels[i] = uint16(i % 3)
	}
	p := placesOf(s, 0, 5)
	for class, voxels := range p.classes {
		if len(voxels) != maxPerClass || !slices.IsSorted(voxels) {
			t.Fatalf("class %d: %d voxels", class+1, len(voxels))
		}
		quarters := [4]int{}
		for _, v := range voxels {
			if int(s.Labels[v]) != class+1 {
				t.Fatalf("voxel %d is of class %d", v, s.Labels[v])
			}
			quarters[v/75_000]++
		}
		for _, q := range quarters {
			if math.Abs(float64(q)-maxPerClass/4) > 2 {
				t.Errorf("class %d: quarters %v", class+1, quarters)
			}
		}
	}
	for i := range s.Labels {
		s.Labels[i] = uint16(i % 1001)
	}
	total := 0
	for _, v := range placesOf(s, 0, 5).classes {
		total += len(v)
	}
	if total != 1000*minPerClass {
		t.Errorf("%d voxels of 1000 classes", total)
	}
}

func TestInOrder(t *testing.T) {
	data := newFakeCases()
	o := loaderOptions(data, 4)
	o.Recipe, o.InOrder, o.Batch, o.Patch = nil, true, 2, [3]int{4, 4, 4}
	l := newTestLoader(t, o)
	var seen []string
	for i := range 4 {
		b := content(t, l, i)
		seen = append(seen, b.Cases...)
		s, _ := data.Load(t.Context(), Case{ID: b.Cases[0]})
		at := (((s.Size[0]-4)/2*s.Size[1])+(s.Size[1]-4)/2)*s.Size[2] + (s.Size[2]-4)/2
		if b.X[0] != s.Image[at] {
			t.Errorf("step %d: the patch does not come from the middle", i)
		}
	}
	if strings.Join(seen, " ") != "case00 case01 case02 case03 case00 case01 case02 case03" {
		t.Errorf("order %v", seen)
	}
}

// slowData blocks until the context ends.
type slowData struct{ *fakeCases }

func (slowData) Load(ctx context.Context, _ Case) (*Sample, error) {
	<-ctx.Done()
	return nil, fault.Wrap(fault.Canceled, ctx.Err(), "stopped")
}

func TestStopping(t *testing.T) {
	noLeak(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := NewLoader(ctx, loaderOptions(slowData{newFakeCases()}, 4)); fault.KindOf(err) != fault.Canceled {
		t.Errorf("opening was stopped: %v", err)
	}
	l := newTestLoader(t, loaderOptions(newFakeCases(), 4))
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	for i := range 50 { // the batch may be ready at once
		if _, err := l.Next(ctx, 1000*i); err != nil {
			if fault.KindOf(err) != fault.Canceled {
				t.Errorf("waiting was stopped: %v", err)
			}
			break
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Next(t.Context(), 0); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("after Close: %v", err)
	}
}

func TestLoaderOptionsAreChecked(t *testing.T) {
	for name, change := range map[string]func(*LoaderOptions){
		"no cases":   func(o *LoaderOptions) { o.Cases = nil },
		"no batch":   func(o *LoaderOptions) { o.Batch = 0 },
		"no patch":   func(o *LoaderOptions) { o.Patch[1] = 0 },
		"share":      func(o *LoaderOptions) { o.Oversample = 1.5 },
		"recipe":     func(o *LoaderOptions) { o.Recipe = &augment.Recipe{Transforms: []augment.Step{{}}} },
		"thick slab": func(o *LoaderOptions) { o.Data.(*fakeCases).spec.Dimension = 2 },
	} {
		o := loaderOptions(newFakeCases(), 2)
		change(&o)
		if _, err := NewLoader(t.Context(), o); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// sliceData has images whose voxels tell their slice, from 1.
type sliceData struct{ *fakeCases }

func (d sliceData) Load(ctx context.Context, c Case) (*Sample, error) {
	s, err := d.fakeCases.Load(ctx, c)
	if err == nil {
		for i := range s.Image {
			s.Image[i] = float32(i/(s.Size[1]*s.Size[2]) + 1)
		}
	}
	return s, err
}

// Patches of a 2-D model are slices: mirrored and turned, but never tilted.
func TestSlicesStayFlat(t *testing.T) {
	data := sliceData{newFakeCases()}
	data.spec.Dimension = 2
	o := loaderOptions(data, 2)
	o.Patch, o.Batch = [3]int{1, 14, 14}, 4
	always := augment.Range{-30, 30}
	o.Recipe = &augment.Recipe{Transforms: []augment.Step{
		{Spatial: &augment.Spatial{Rotate: &augment.Rotate{Probability: 1, X: always, Y: always, Z: always}}},
		{Flip: &augment.Flip{X: 1, Y: 0.5}},
	}}
	l := newTestLoader(t, o)
	slicesSeen := map[float32]bool{}
	for i := range 5 {
		for x := range slices.Chunk(content(t, l, i).X, 14*14) {
			slicesSeen[x[7*14+7]] = true
			for row := 5; row < 9; row++ { // the middle: nothing is turned in from outside
				for _, v := range x[row*14+5 : row*14+9] {
					if math.Abs(float64(v-x[7*14+7])) > 1e-3 {
						t.Fatalf("step %d: a voxel of slice %.3f in a patch of slice %.3f", i, v, x[7*14+7])
					}
				}
			}
		}
	}
	if len(slicesSeen) < 5 {
		t.Errorf("%d slices in 20 patches", len(slicesSeen))
	}
	if o.Recipe.Transforms[0].Spatial.Rotate.Y != always || o.Recipe.Transforms[1].Flip.X != 1 {
		t.Error("the caller's recipe was changed")
	}
	only := augment.Recipe{Transforms: []augment.Step{
		{Spatial: &augment.Spatial{Rotate: &augment.Rotate{Probability: 1, Y: always}}}, {Flip: &augment.Flip{X: 1}},
	}}
	if got := inSlices(only); len(got.Transforms) != 0 {
		t.Errorf("%d transforms tilt a slice only", len(got.Transforms))
	}
}

// The same patch is augmented in another way each time, within a batch too.
func TestEveryPatchIsAugmentedApart(t *testing.T) {
	o := loaderOptions(newFakeCases(), 1)
	o.InOrder, o.Batch, o.Recipe = true, 2, &augment.Recipe{Transforms: []augment.Step{
		{Noise: &augment.Noise{Chance: augment.Chance{Probability: 1}, SD: augment.Range{1, 2}}},
	}}
	l := newTestLoader(t, o)
	seen := map[float32]int{}
	for i := range 8 {
		b := content(t, l, i)
		seen[b.X[500]]++
		seen[b.X[500+len(b.X)/2]]++
	}
	if len(seen) != 16 {
		t.Errorf("%d different patches of 16", len(seen))
	}
}
