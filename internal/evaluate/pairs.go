package evaluate

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
)

// Pair is a prediction and its truth.
type Pair struct {
	Case        string // the name of the files without their endings
	Pred, Truth string // paths

	Probabilities string // path; empty: none
}

// Skip is a case that could not be evaluated.
type Skip struct {
	Case   string `json:"case"`
	Reason string `json:"reason"`
}

// FindPairs pairs the label maps of two folders by name. Files that are no
// images and hidden ones are left alone; subfolders are not entered. A file
// without a partner, or with two, is a Skip. Both lists are by name. A folder
// that cannot be listed is NotFound or Invalid.
func FindPairs(pred, truth string) ([]Pair, []Skip, error) {
	p, err := listImages(pred)
	if err != nil {
		return nil, nil, err
	}
	t, err := listImages(truth)
	if err != nil {
		return nil, nil, err
	}
	all := maps.Clone(p)
	maps.Copy(all, t)
	var pairs []Pair
	var skips []Skip
	for _, name := range slices.Sorted(maps.Keys(all)) {
		switch a, b := p[name], t[name]; {
		case len(a) == 0:
			skips = append(skips, Skip{name, "there is no prediction for " + b[0]})
		case len(b) == 0:
			skips = append(skips, Skip{name, "there is no truth for " + a[0]})
		case len(a) > 1:
			skips = append(skips, Skip{name, "there are several predictions: " + strings.Join(a, ", ")})
		case len(b) > 1:
			skips = append(skips, Skip{name, "there are several truths: " + strings.Join(b, ", ")})
		default:
			pairs = append(pairs, Pair{Case: name, Pred: filepath.Join(pred, a[0]), Truth: filepath.Join(truth, b[0])})
		}
	}
	return pairs, skips, nil
}

// listImages returns the image files of a folder by their names without
// ending.
func listImages(dir string) (map[string][]string, error) {
	entries, err := os.ReadDir(dir)
	switch {
	case os.IsNotExist(err):
		return nil, fault.New(fault.NotFound, "the folder %s is not there", dir)
	case err != nil:
		return nil, fault.Wrap(fault.Invalid, err, "the folder %s cannot be listed", dir)
	}
	out := make(map[string][]string)
	for _, e := range entries {
		stem, ok := imageStem(e.Name())
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") || !ok {
			continue
		}
		out[stem] = append(out[stem], e.Name())
	}
	return out, nil
}

// imageStem cuts the ending off the name of an image. A pair counts by its
// header.
func imageStem(name string) (stem string, ok bool) {
	ext := codec.Ext(name)
	if pair := codec.FileExt(name); pair == ".hdr" || pair == ".hdr.gz" {
		ext = name[len(name)-len(pair):]
	} else if !codec.Known(ext) {
		return name, false
	}
	return name[:len(name)-len(ext)], true
}

// read reads both label maps and puts the prediction onto the truth's grid.
func (p Pair) read(ctx context.Context) (*labelMaps, error) {
	truth, err := readLabels(ctx, p.Truth)
	if err != nil {
		return nil, fault.Wrap(fault.KindOf(err), err, "truth")
	}
	pred, err := readLabels(ctx, p.Pred)
	if err != nil {
		return nil, fault.Wrap(fault.KindOf(err), err, "prediction")
	}
	moved, ok := codec.Align(pred, truth.Grid)
	if !ok {
		return nil, fault.Wrap(fault.Invalid, imaging.ErrShape,
			"the grids differ: prediction %s, truth %s", gridText(pred.Grid), gridText(truth.Grid))
	}
	return &labelMaps{moved, truth}, nil
}

func readLabels(ctx context.Context, path string) (*imaging.LabelMap, error) {
	v, err := codec.Read(ctx, path, codec.Limits{})
	if err != nil {
		return nil, err
	}
	l, err := imaging.LabelMapOf(v)
	return l, fault.Wrap(fault.Invalid, err, "%s is no label map", filepath.Base(path))
}

// gridText tells a grid in a few words.
func gridText(g imaging.Grid) string {
	s, at := g.Spacing(), g.Affine.Apply([3]float64{})
	return fmt.Sprintf("%d×%d×%d voxels of %.4g×%.4g×%.4g mm %s from (%.4g, %.4g, %.4g)",
		g.Size[0], g.Size[1], g.Size[2], s[0], s[1], s[2], g.Orientation(), at[0], at[1], at[2])
}

// reason returns what is told about a pair that cannot be used.
func reason(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
