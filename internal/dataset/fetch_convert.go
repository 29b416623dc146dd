package dataset

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
)

// convert makes the studies folder and its record.
func (f *fetch) convert(ctx context.Context, u *unpacker, studies string) (*Record, error) {
	if len(u.cases) == 0 {
		return nil, fault.New(fault.Invalid, "nothing in it is named as the files of %s are: is it the right archive?", f.set.Name)
	}
	labels, channels, err := f.classes(u)
	if err != nil {
		return nil, err
	}
	chosen, values, err := choose(labels, f.o.Labels)
	if err != nil {
		return nil, err
	}
	if err := checkLabels(chosen); err != nil {
		return nil, err
	}
	c := &converter{
		dir: studies, classes: labels, values: values, channels: len(channels), lim: f.o.Limits, workers: f.o.Workers,
		progress: func(done, total int64) { f.o.Progress(PhaseConvert, done, total) },
	}
	all := make([]*found, 0, len(u.cases))
	for _, id := range slices.Sorted(maps.Keys(u.cases)) {
		all = append(all, u.cases[id])
	}
	if err := c.run(ctx, all); err != nil {
		return nil, err
	}
	if len(c.cases) == 0 {
		return nil, fault.New(fault.Invalid, "none of the %d cases can be used; the first, %s: %s", len(c.left), c.left[0].ID, c.left[0].Reason)
	}
	r := &Record{
		Format: recordFormat, Name: f.set.Name, Title: f.set.Title, Licence: f.set.Licence, Cite: f.set.Cite, Home: f.set.Home,
		Archive: f.archive, Unlabelled: f.o.Unlabelled, Wanted: f.o.Labels, Channels: channels, Labels: names(chosen), Cases: c.cases, LeftOut: c.left,
	}
	if r.Files, err = listFiles(ctx, studies, r.Cases, f.o.Workers); err != nil {
		return nil, err
	}
	if err := writeIndex(studies, r); err != nil {
		return nil, err
	}
	return r, writeJSON(filepath.Join(studies, RecordName), r)
}

// classes are the labels and channels of the set: the table's, else those that
// the archive's dataset.json tells. Where both are there, a value that only the
// archive knows is a mistake of the table or of the archive.
func (f *fetch) classes(u *unpacker) ([]Label, []string, error) {
	if u.description == nil {
		if len(f.set.Labels) == 0 {
			return nil, nil, fault.New(fault.Invalid, "there is no %s that names the labels", descriptionName)
		}
		return f.set.Labels, f.set.Channels, nil
	}
	d, err := readDescription(u.description.path)
	if err != nil {
		return nil, nil, err
	}
	if len(f.set.Labels) == 0 {
		if len(d.labels) == 0 {
			return nil, nil, fault.New(fault.Invalid, "%s names no labels", descriptionName)
		}
		return d.labels, d.channels, nil
	}
	for _, l := range d.labels {
		if !slices.ContainsFunc(f.set.Labels, func(o Label) bool { return o.Value == l.Value }) {
			return nil, nil, fault.New(fault.Invalid, "%s names a label %s=%d, which %s is not known to have", descriptionName, l.Name, l.Value, f.set.Name)
		}
	}
	return f.set.Labels, f.set.Channels, nil
}

// publish gives the complete folder its name.
func (f *fetch) publish(studies string) error {
	for _, dir := range []string{filepath.Join(studies, filepath.FromSlash(finalLabels)), studies} {
		if err := syncDir(dir); err != nil {
			return diskFault(err, "the studies folder")
		}
	}
	if err := os.Remove(f.o.Out); err != nil && !errors.Is(err, fs.ErrNotExist) { // an empty folder
		return fault.Wrap(fault.Conflict, err, "%s is in the way", f.o.Out)
	}
	if err := os.Rename(studies, f.o.Out); err != nil {
		return diskFault(err, "the studies folder")
	}
	return diskFault(syncDir(filepath.Dir(f.o.Out)), "the studies folder")
}
