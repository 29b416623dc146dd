package apps

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/datastore/local"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/trainers"
)

// StudiesOptions name the studies folder whose labelled images are wanted.
type StudiesOptions struct {
	Studies    string
	State      string   // of a server that ran on it; "" means <Studies>/.voxloop
	Extensions []string // of images and labels; empty: those of a server
	Logger     *slog.Logger
}

// LabelledCases are the images of a studies folder that can be trained on.
type LabelledCases struct {
	Cases      []trainers.Case // sorted by id; without a role
	Unlabelled int             // images without a final label
	Warnings   []string        // what was left out, and why
}

// StudiesCases finds the labelled images of a studies folder, also when no
// server ever ran on it: images at the top, their labels in labels/final, by
// the rules of the data store. Nothing is written there but, where a server has
// left its state and none is running, in that state; then cases know the
// versions of their labels. The subject of a case is the key "subject" of the
// image's info, where it has one.
func StudiesCases(ctx context.Context, o StudiesOptions) (LabelledCases, error) {
	if o.Studies == "" {
		return LabelledCases{}, fault.New(fault.Invalid, "no studies folder is given")
	}
	if o.State == "" {
		o.State = filepath.Join(o.Studies, local.StateDir)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	store, err := o.openState(ctx)
	if err != nil {
		return LabelledCases{}, err
	}
	if store != nil {
		found, err := casesOf(ctx, store, o.Studies, o.Extensions)
		return found, errors.Join(err, store.Close())
	}
	return o.withoutState(ctx)
}

func (o StudiesOptions) open(ctx context.Context, state string) (*local.Store, error) {
	return local.Open(ctx, local.Options{
		Studies: o.Studies, State: state, ReadOnly: true, Extensions: storeExtensions(o.Extensions),
		SyncDisabled: state != o.State, Logger: o.Logger,
	})
}

// openState opens the state that a server left; nil where there is none, or
// none that can be used now.
func (o StudiesOptions) openState(ctx context.Context) (*local.Store, error) {
	if _, err := os.Stat(filepath.Join(o.State, "db")); err != nil {
		return nil, nil //nolint:nilerr,nilnil // no server ever ran here
	}
	s, err := o.open(ctx, o.State)
	switch {
	case err == nil:
		return s, nil
	case ctx.Err() != nil:
		return nil, fault.Wrap(fault.Canceled, err, "looking for cases was stopped")
	}
	o.Logger.Info("the server's state is not available; the files alone say which images are labelled", "cause", err)
	return nil, nil //nolint:nilnil // the files are enough
}

// withoutState looks at the files alone: the data store's own rules, with a
// state that lives for this call.
func (o StudiesOptions) withoutState(ctx context.Context) (found LabelledCases, err error) {
	state, err := os.MkdirTemp("", "voxloop-cases-")
	if err != nil {
		return found, diskFault(err, "looking for cases")
	}
	defer func() { err = errors.Join(err, os.RemoveAll(state)) }()
	store, err := o.open(ctx, state)
	if err != nil {
		return found, err
	}
	found, err = casesOf(ctx, store, o.Studies, o.Extensions)
	for i := range found.Cases {
		found.Cases[i].LabelVersion = 0 // this store has seen one save of each: it cannot know
	}
	return found, errors.Join(err, store.Close())
}

// storeExtensions are the image files that an app serves.
func storeExtensions(chosen []string) []string {
	if len(chosen) > 0 {
		return chosen
	}
	return []string{".nii.gz", ".nii", ".nrrd"}
}

// TrainingCases are the labelled images of the running app.
func (a *App) TrainingCases(ctx context.Context) (LabelledCases, error) {
	return casesOf(ctx, a.store, a.opts.Studies, a.opts.Extensions)
}

// casesOf lists the labelled images of a store.
func casesOf(ctx context.Context, store datastore.Store, studies string, extensions []string) (LabelledCases, error) {
	var out LabelledCases
	ids, labels := make(map[string]bool), filepath.Join(studies, "labels", datastore.TagFinal)
	for img := range store.All() {
		if err := ctx.Err(); err != nil {
			return out, fault.Wrap(fault.Canceled, err, "looking for cases was stopped")
		}
		ids[img.ID] = true
		l, ok := img.Label(datastore.TagFinal)
		if !ok {
			out.Unlabelled++
			continue
		}
		labels = filepath.Dir(l.Path)
		c, err := labelledCase(ctx, img, l)
		switch {
		case err == nil:
			out.Cases = append(out.Cases, c)
		case ctx.Err() != nil || fault.KindOf(err) == fault.Internal:
			return out, err
		default:
			msg, _ := fault.Message(err)
			out.Warnings = append(out.Warnings, msg)
		}
	}
	slices.SortFunc(out.Cases, func(a, b trainers.Case) int { return cmp.Compare(a.ID, b.ID) })
	slices.Sort(out.Warnings)
	out.Warnings = append(out.Warnings, orphans(labels, ids, storeExtensions(extensions))...)
	return out, nil
}

// labelledCase looks at the headers and sums up the label. Faults say why the
// image cannot be trained on.
func labelledCase(ctx context.Context, img datastore.Image, l datastore.Label) (c trainers.Case, err error) {
	c = trainers.Case{ID: img.ID, Subject: img.Info.String("subject"), Images: img.Files, Label: l.Path, LabelVersion: l.Version}
	const off = "the label does not lie on the image's grid"
	switch {
	case img.Quarantined != "":
		return c, ofCase(c.ID, fault.New(fault.Invalid, "the image is quarantined: %s", img.Quarantined))
	case l.GridMismatch:
		return c, ofCase(c.ID, fault.New(fault.Invalid, off))
	}
	image, err := codec.ReadGrid(ctx, img.Files[0])
	if err != nil {
		return c, ofCase(c.ID, readFault(err, "the image", img.Files[0]))
	}
	label, err := codec.ReadGrid(ctx, l.Path)
	if err != nil {
		return c, ofCase(c.ID, readFault(err, "the label", l.Path))
	}
	if !sameLattice(image.Grid, label.Grid) {
		return c, ofCase(c.ID, fault.New(fault.Invalid, off))
	}
	if c.LabelSum, err = sumFile(l.Path); err != nil {
		return c, ofCase(c.ID, fault.Wrap(fault.NotFound, err, "the label cannot be read"))
	}
	return c, nil
}

// sameLattice reports whether two grids are the same points up to the order and
// direction of the axes: whether codec.Align would succeed.
func sameLattice(image, label imaging.Grid) bool {
	for _, source := range [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		for f := range 8 {
			m := imaging.AxisMap{Source: source, Flip: [3]bool{f&1 != 0, f&2 != 0, f&4 != 0}}
			if image.Distance(label.Remap(m)) <= codec.AlignTolerance {
				return true
			}
		}
	}
	return false
}

func sumFile(path string) (string, error) {
	f, err := os.Open(path) //nolint:gosec // a file of the data store
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// orphans names the labels that belong to no image.
func orphans(dir string, ids map[string]bool, extensions []string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // no labels at all
	}
	var out []string
	for _, e := range entries {
		ext := ""
		for _, x := range extensions {
			x = "." + strings.TrimLeft(x, "*.")
			if len(x) > len(ext) && strings.HasSuffix(e.Name(), x) {
				ext = x
			}
		}
		id := strings.TrimSuffix(e.Name(), ext)
		if ext == "" || id == "" || id[0] == '.' || ids[id] {
			continue
		}
		out = append(out, fmt.Sprintf("the label %s belongs to no image", e.Name()))
	}
	return out
}
