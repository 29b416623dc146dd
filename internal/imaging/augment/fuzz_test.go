package augment_test

import (
	"bytes"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/augment"
)

// Any text is refused as Invalid or TooLarge, or is a recipe that its own text
// gives back and that can be applied.
func FuzzParseRecipe(f *testing.F) {
	text, err := augment.Default().YAML()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	for _, kind := range augment.Kinds() {
		step, _, err := augment.Graded(kind, 3)
		if err != nil {
			f.Fatal(err)
		}
		if text, err = (augment.Recipe{Transforms: []augment.Step{step}}).YAML(); err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("padding: border\ntransforms:\n- spatial: {elastic: {probability: 1, spacing: 3, magnitude: [0, 1]}, shear: {probability: 1, factor: [-0.1, 0.1]}}\n" +
		"- rot90: {probability: 1, planes: [xy, zx]}\n- flip: {x: 0.5}\n- dropout: {probability: 0.5, fill: -1}\n"))
	f.Add([]byte("a: &a [x, x]\nb: &b [*a, *a]\ntransforms: [*b, *b]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := augment.ParseRecipe(text)
		if err != nil {
			if k := fault.KindOf(err); k != fault.Invalid && k != fault.TooLarge {
				t.Errorf("kind of %v", err)
			}
			return
		}
		again, err := r.YAML()
		if err != nil {
			t.Fatal(err)
		}
		same, err := augment.ParseRecipe(again)
		if err != nil {
			t.Fatalf("%v in its own text\n%s", err, again)
		}
		if once, err := same.YAML(); err != nil || !bytes.Equal(once, again) {
			t.Errorf("%v\n%s\nbecame\n%s", err, again, once)
		}
		if len(r.Transforms) > 6 { // enough to meet each other
			return
		}
		a, err := augment.New(r, augment.Options{Workers: 1})
		if err != nil {
			t.Fatalf("a recipe that was accepted cannot be used: %v", err)
		}
		src, dst := augment.NewPatch(2, [3]int{5, 6, 7}, true), augment.NewPatch(2, [3]int{4, 4, 4}, true)
		src.Spacing = [3]float64{1, 2, 3}
		for i := range src.Data {
			src.Data[i] = float32(i % 13)
		}
		if err := a.Sample(t.Context(), augment.Key{Seed: 1, Case: "c"}, src, [3]int{1, 2, -1}, dst); err != nil && fault.KindOf(err) != fault.Invalid {
			t.Errorf("a recipe that was accepted cannot be applied: %v\n%s", err, text)
		}
	})
}
