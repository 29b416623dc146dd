package trainers

import (
	"context"

	"github.com/voxloop/voxloop/internal/imaging/augment"
)

// loaded is a Loader as a training sees it.
type loaded struct{ *Loader }

// Next implements batches.
func (l loaded) Next(ctx context.Context, index int) (batch, error) {
	b, err := l.Loader.Next(ctx, index)
	if err != nil {
		return batch{}, err
	}
	return batch{index: index, images: b.X, labels: b.Labels}, nil
}

// batches opens the loader of a training. With accumulation one step takes
// several batches, one after the other. atOnce is how many steps a call makes:
// the batches of the next call are prepared during the present one.
func (e *engine) batches(ctx context.Context, c Config, atOnce int) (batches, error) {
	recipe, err := c.recipe()
	if err != nil {
		return nil, err
	}
	ahead := 0 // as usual
	if atOnce > 1 {
		ahead = atOnce
	}
	l, err := NewLoader(ctx, LoaderOptions{
		Data: e.data, Cases: e.train, Patch: c.Patch, Batch: c.Batch * c.Accumulate, Seed: c.Seed,
		Recipe: recipe, Oversample: c.Oversample, IgnoreIndex: c.IgnoreLabel, CacheBytes: c.CacheBytes, Workers: c.Workers, Ahead: ahead,
		Warn: func(text string) { e.warn("%s", text) },
	})
	if err != nil {
		return nil, err
	}
	return loaded{l}, nil
}

// Augmentations lists the words that stand for a recipe.
func Augmentations() []string {
	return []string{AugmentDefault, AugmentFull, AugmentGentle, AugmentNone}
}

// recipe is what is done to every patch; nil: nothing. c has its defaults.
func (c Config) recipe() (*augment.Recipe, error) {
	switch c.Augment {
	case AugmentNone:
		return nil, nil
	case AugmentFull:
		r := augment.Default()
		return &r, nil
	case AugmentGentle:
		r := augment.Gentle()
		return &r, nil
	}
	r, err := augment.ParseRecipe([]byte(c.Augment))
	if err != nil {
		return nil, wrong("augment", "%v", err)
	}
	return &r, nil
}
