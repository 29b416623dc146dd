package augment_test

import (
	"context"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/augment"
)

func sizes(t *rapid.T) [3]int {
	n := rapid.IntRange(1, 12)
	return [3]int{n.Draw(t, "x"), n.Draw(t, "y"), n.Draw(t, "z")}
}

// Any choice and order of transforms on any shape gives finite voxels and
// labels that were there, and the same with one worker and with three.
func TestAnyRecipeIsFinite(t *testing.T) {
	all := everything().Transforms
	rapid.Check(t, func(t *rapid.T) {
		order := rapid.Permutation(all).Draw(t, "order")
		steps := order[:rapid.IntRange(0, len(order)).Draw(t, "steps")]
		pad := rapid.SampledFrom([]augment.Padding{augment.PadBorder, augment.PadConstant}).Draw(t, "padding")
		recipe := augment.Recipe{Padding: pad, Transforms: steps}
		size, scale := sizes(t), rapid.SampledFrom([]float32{0, 1, 1e-20, 1e6}).Draw(t, "scale")
		origin := [3]int{rapid.IntRange(-20, 20).Draw(t, "ox"), rapid.IntRange(-3, 3).Draw(t, "oy"), 0}
		src := cube(2, sizes(t))
		for i := range src.Data {
			src.Data[i] *= scale
		}
		key := augment.Key{Seed: rapid.Uint64().Draw(t, "seed"), Case: "p"}
		var first *augment.Patch
		for _, workers := range []int{1, 3} {
			a, err := augment.New(recipe, augment.Options{Workers: workers})
			if err != nil {
				t.Fatal(err)
			}
			p := augment.NewPatch(2, size, true)
			if err := a.Sample(context.Background(), key, src, origin, p); err != nil {
				t.Fatal(err)
			}
			for i, v := range p.Data {
				if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
					t.Fatalf("voxel %d is %g", i, f)
				}
			}
			if m := slices.Max(p.Labels); m > slices.Max(src.Labels) {
				t.Fatalf("label %d was not there", m)
			}
			if first != nil && !same(p, first) {
				t.Fatal("three workers give other voxels than one")
			}
			first = p
		}
	})
}

// Flips and quarter turns move voxels without changing any: sorted, they are
// the same.
func TestExactTransformsPermute(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := cube(2, sizes(t))
		for i := range p.Labels {
			p.Labels[i] = uint16(i)
		}
		before := slices.Clone(p.Data)
		a, err := augment.New(augment.Recipe{Transforms: []augment.Step{
			{Flip: &augment.Flip{X: 0.5, Y: 0.5, Z: 0.5}}, {Rot90: &augment.Rot90{Probability: 0.9}},
		}}, augment.Options{Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Apply(context.Background(), augment.Key{Seed: rapid.Uint64().Draw(t, "seed")}, p); err != nil {
			t.Fatal(err)
		}
		n := p.Voxels()
		for i, l := range p.Labels { // the label is where the voxel came from
			for c := range 2 {
				if p.Data[c*n+i] != before[c*n+int(l)] {
					t.Fatalf("channel %d, voxel %d: %g, but label %d says %g", c, i, p.Data[c*n+i], l, before[c*n+int(l)])
				}
			}
		}
		slices.Sort(p.Labels)
		for i, l := range p.Labels {
			if int(l) != i {
				t.Fatalf("voxel %d is missing", i)
			}
		}
	})
}

// A stopped context ends the work with its kind.
func TestStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, workers := range []int{1, 4} {
		for i, s := range everything().Transforms {
			p := cube(2, [3]int{20, 20, 20})
			if err := augmenter(t, workers, s).Apply(ctx, augment.Key{}, p); fault.KindOf(err) != fault.Canceled {
				t.Errorf("transform %d, %d workers: %v", i, workers, err)
			}
			if err := augmenter(t, workers, s).Sample(ctx, augment.Key{}, p, [3]int{}, cube(2, p.Size)); fault.KindOf(err) != fault.Canceled {
				t.Errorf("transform %d, %d workers: %v", i, workers, err)
			}
		}
	}
}
