package augment_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging/augment"
)

// everything is a recipe with all transforms, each always applied.
func everything() augment.Recipe {
	turn := augment.Range{-30, 30}
	return augment.Recipe{Transforms: []augment.Step{
		{Spatial: &augment.Spatial{
			Rotate:    &augment.Rotate{Probability: 1, X: turn, Y: turn, Z: turn},
			Scale:     &augment.Scale{Probability: 1, Factor: augment.Range{0.8, 1.3}, PerAxis: true},
			Shear:     &augment.Shear{Probability: 1, Factor: augment.Range{-0.1, 0.1}},
			Translate: &augment.Translate{Probability: 1, Voxels: augment.Range{-2, 2}},
			Elastic:   &augment.Elastic{Probability: 1, Spacing: 8, Magnitude: augment.Range{1, 3}},
		}},
		{Flip: &augment.Flip{X: 0.5, Y: 0.5, Z: 0.5}},
		{Rot90: &augment.Rot90{Probability: 1}},
		{Noise: &augment.Noise{Chance: always(), SD: augment.Range{0.05, 0.1}}},
		{Rician: &augment.Rician{Chance: always(), SD: augment.Range{0.05, 0.1}}},
		{Blur: &augment.Blur{Chance: always(), Sigma: augment.Range{0.5, 1}, PerAxis: true}},
		{Brightness: &augment.Brightness{Chance: always(), Multiply: augment.Range{0.8, 1.2}, Add: augment.Range{-0.1, 0.1}}},
		{Contrast: &augment.Contrast{Chance: always(), Factor: augment.Range{0.75, 1.25}, KeepRange: true}},
		{LowResolution: &augment.LowResolution{Chance: always(), Zoom: augment.Range{0.5, 0.9}, PerAxis: true}},
		{Gamma: &augment.Gamma{Chance: always(), Gamma: augment.Range{0.7, 1.5}, Invert: true, RetainStats: true}},
		{BiasField: &augment.BiasField{Chance: always(), Strength: augment.Range{0.1, 0.4}, Order: 3}},
		{Ghosting: &augment.Ghosting{Chance: always(), Ghosts: [2]int{3, 5}, Intensity: augment.Range{0.2, 0.5}}},
		{Spike: &augment.Spike{Chance: always(), Amplitude: augment.Range{0.1, 0.3}, Frequency: augment.Range{0.1, 0.4}}},
		{Motion: &augment.Motion{Chance: always(), Shift: augment.Range{1, 3}, Moves: [2]int{1, 3}}},
		{Style: &augment.Style{Chance: always(), Strength: augment.Range{0.2, 0.5}, Knots: 6, Invert: 0.5}},
		{Dropout: &augment.Dropout{Probability: 0.3}},
	}}
}

func augmenter(t testing.TB, workers int, steps ...augment.Step) *augment.Augmenter {
	t.Helper()
	a, err := augment.New(augment.Recipe{Transforms: steps}, augment.Options{Workers: workers})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// sample cuts a patch out of the middle of a larger source.
func sample(t testing.TB, a *augment.Augmenter, src *augment.Patch, key augment.Key) *augment.Patch {
	t.Helper()
	size, origin := [3]int{22, 19, 27}, [3]int{-2, 5, 4}
	dst := augment.NewPatch(src.Channels, size, true)
	if err := a.Sample(t.Context(), key, src, origin, dst); err != nil {
		t.Fatal(err)
	}
	return dst
}

func same(a, b *augment.Patch) bool {
	return slices.Equal(a.Data, b.Data) && slices.Equal(a.Labels, b.Labels)
}

// The same key gives the same voxels with any number of workers, in any order
// of keys, and from many goroutines at once.
func TestSameSeedSameVoxels(t *testing.T) {
	src := cube(3, [3]int{29, 31, 33})
	var keys []augment.Key
	for i := range 6 {
		keys = append(keys, augment.Key{Seed: 11, Case: fmt.Sprint("case", i%2), Step: uint64(i)})
	}
	want := make([]*augment.Patch, len(keys))
	one := augmenter(t, 1, everything().Transforms...)
	for i, k := range keys {
		want[i] = sample(t, one, src, k)
	}
	for _, workers := range []int{1, 2, 7} {
		a := augmenter(t, workers, everything().Transforms...)
		for _, i := range []int{5, 0, 3, 1, 4, 2} {
			if !same(sample(t, a, src, keys[i]), want[i]) {
				t.Errorf("%d workers: key %d gives other voxels", workers, i)
			}
		}
	}
	var wg sync.WaitGroup
	two := augmenter(t, 2, everything().Transforms...)
	for i, k := range keys {
		wg.Go(func() {
			dst := augment.NewPatch(3, want[i].Size, true)
			if err := two.Sample(t.Context(), k, src, [3]int{-2, 5, 4}, dst); err != nil || !same(dst, want[i]) {
				t.Errorf("among goroutines: key %d gives other voxels (%v)", i, err)
			}
		})
	}
	wg.Wait()
}

// Every part of the key changes the outcome of every transform.
func TestKeysDiffer(t *testing.T) {
	src := cube(3, [3]int{29, 31, 33})
	base := augment.Key{Seed: 11, Case: "a", Step: 4}
	for i, s := range everything().Transforms {
		a := augmenter(t, 2, s)
		first := sample(t, a, src, base)
		differs := func(change func(*augment.Key, uint64)) bool {
			for n := range uint64(12) { // discrete transforms may come out equal now and then
				k := base
				change(&k, n+1)
				if !same(sample(t, a, src, k), first) {
					return true
				}
			}
			return false
		}
		if !differs(func(k *augment.Key, n uint64) { k.Seed += n }) ||
			!differs(func(k *augment.Key, n uint64) { k.Case += fmt.Sprint(n) }) ||
			!differs(func(k *augment.Key, n uint64) { k.Step += n }) {
			t.Errorf("transform %d does not depend on all of seed, case and step", i)
		}
	}
}

// Cutting a patch out and augmenting it are the same in one call or in two, and
// in place; the source stays.
func TestSampleAndApplyAgree(t *testing.T) {
	src := cube(2, [3]int{29, 31, 33})
	kept := slices.Clone(src.Data)
	key := augment.Key{Seed: 2, Case: "x", Step: 1}
	steps := everything().Transforms
	steps = append(steps[1:len(steps):len(steps)], steps[0])
	whole := sample(t, augmenter(t, 2, steps...), src, key)
	parts := sample(t, augmenter(t, 2), src, key)
	if err := augmenter(t, 2, steps...).Apply(t.Context(), key, parts); err != nil {
		t.Fatal(err)
	}
	if !same(whole, parts) {
		t.Error("Sample differs from cutting and Apply")
	}
	in := cube(2, [3]int{20, 21, 22})
	out := augment.NewPatch(2, in.Size, true)
	a := augmenter(t, 2, everything().Transforms...)
	if err := a.Sample(t.Context(), key, in, [3]int{}, out); err != nil {
		t.Fatal(err)
	}
	if err := a.Apply(t.Context(), key, in); err != nil {
		t.Fatal(err)
	}
	if !same(in, out) {
		t.Error("Apply differs from Sample of the whole")
	}
	if !slices.Equal(src.Data, kept) {
		t.Error("the source was changed")
	}
}
