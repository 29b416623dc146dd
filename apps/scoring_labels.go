package apps

import (
	"context"
	"math"
	"path/filepath"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	overlap "github.com/voxloop/voxloop/internal/imaging/metrics"
	"github.com/voxloop/voxloop/internal/jobs"
	"github.com/voxloop/voxloop/internal/ordered"
)

// infoDice is the key of an image's info that holds the score of "dice".
const infoDice = "dice"

// scoreDice compares two labels of every image: "y" of the request (default
// final) and "y_pred" (default original). The score, the mean over the classes
// of either of Dice, goes into the image's info; 1 where both are empty.
func (a *App) scoreDice(ctx context.Context, j *jobs.Job) (any, error) {
	tags := [2]string{datastore.TagFinal, datastore.TagOriginal}
	for i, key := range []string{"y", "y_pred"} {
		if t := j.Request.String(key); t != "" {
			tags[i] = t
		}
	}
	result := &ordered.Map{}
	err := a.eachScored(ctx, j, func(ctx context.Context, img datastore.Image) (bool, error) {
		var labels [2]*imaging.LabelMap
		for i, tag := range tags {
			l, ok := img.Label(tag)
			if !ok {
				return false, nil
			}
			var err error
			if labels[i], err = a.storedLabel(ctx, l); err != nil {
				return false, err
			}
		}
		truth, ok := codec.Align(labels[0], labels[1].Grid)
		if !ok {
			return false, fault.New(fault.Invalid, "its labels %s and %s do not lie on the same grid", tags[0], tags[1])
		}
		dice, err := meanDice(ctx, labels[1], truth)
		if err != nil {
			return false, err
		}
		result.Set(img.ID, decimal(dice))
		return true, a.store.UpdateImageInfo(ctx, img.ID, ordered.Of(infoDice, decimal(dice)))
	})
	return result, err
}

// meanDice is the mean of Dice over the classes that occur in either map, 1 when
// none does.
func meanDice(ctx context.Context, found, truth *imaging.LabelMap) (float64, error) {
	c, err := overlap.Compare(ctx, found, truth)
	if err != nil {
		return 0, err
	}
	sum, n := 0.0, 0
	for _, class := range c.Classes() {
		if d := c.Counts(class).Dice(overlap.NNUNet); class != 0 && !math.IsNaN(d) {
			sum += d
			n++
		}
	}
	if n == 0 {
		return 1, nil
	}
	return sum / float64(n), nil
}

// scoreSum adds up the voxels of the final and the proposed label of every image
// and counts the slices along x that hold any; both go into the label's info.
func (a *App) scoreSum(ctx context.Context, j *jobs.Job) (any, error) {
	result := &ordered.Map{}
	err := a.eachScored(ctx, j, func(ctx context.Context, img datastore.Image) (did bool, err error) {
		for _, tag := range []string{datastore.TagFinal, datastore.TagOriginal} {
			l, ok := img.Label(tag)
			if !ok {
				continue
			}
			m, err := a.storedLabel(ctx, l)
			if err != nil {
				return did, err
			}
			info := labelSum(m)
			if err := a.store.UpdateLabelInfo(ctx, img.ID, tag, info); err != nil {
				return did, err
			}
			result.Set(img.ID, info.Clone())
			did = true
		}
		return did, nil
	})
	return result, err
}

// labelSum is the sum of a map's values and the number of its slices along x
// with any.
func labelSum(m *imaging.LabelMap) *ordered.Map {
	var sum int64
	hit := make([]bool, m.Size[0])
	for i, v := range m.Data {
		if v != 0 {
			sum += int64(v)
			hit[i%m.Size[0]] = true
		}
	}
	slices := 0
	for _, h := range hit {
		if h {
			slices++
		}
	}
	return ordered.Of("sum", sum, "slices", slices)
}

// storedLabel reads the voxels of a stored label.
func (a *App) storedLabel(ctx context.Context, l datastore.Label) (*imaging.LabelMap, error) {
	if !codec.Known(l.Ext) {
		return nil, fault.New(fault.Invalid, "its label %s is no image file", l.Tag)
	}
	return a.readLabel(ctx, &Upload{Name: filepath.Base(l.Path), Path: l.Path}, imaging.Grid{})
}
