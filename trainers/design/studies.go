package design

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
)

// Case is one labelled image of a studies folder.
type Case struct {
	ID     string
	Images []string // files; several are the channels in order
	Label  string   // file
}

// maxChannels bounds the files of one image, as in the datastore.
const maxChannels = 16

// finalLabels is the folder of the labels that are trained on.
var finalLabels = filepath.Join("labels", "final")

// Studies lists the labelled images of a folder in the datastore's layout:
// labels/final/ID.ext beside ID.ext, or beside ID_0000.ext, ID_0001.ext, … as
// the channels of one image. Cases come in the order of their ids. Labels
// without an image are returned as orphans. Errors are of kind fault.NotFound
// when the folder is not there or holds no label.
func Studies(dir string) (cases []Case, orphans []string, err error) {
	images, err := listImages(dir)
	if err != nil {
		return nil, nil, err
	}
	labels, err := listImages(filepath.Join(dir, finalLabels))
	if errors.Is(err, fs.ErrNotExist) || (err == nil && len(labels) == 0) {
		return nil, nil, fault.New(fault.NotFound, "studies folder %s has no labels in %s: label some images first", filepath.Base(dir), filepath.ToSlash(finalLabels))
	}
	if err != nil {
		return nil, nil, err
	}
	for id, label := range labels {
		files := imagesOf(images, id)
		if files == nil {
			orphans = append(orphans, id)
			continue
		}
		cases = append(cases, Case{ID: id, Images: files, Label: label})
	}
	slices.Sort(orphans)
	slices.SortFunc(cases, func(a, b Case) int { return cmp.Compare(a.ID, b.ID) })
	return cases, orphans, nil
}

// listImages maps ids to the image files of a folder.
func listImages(dir string) (map[string]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fault.Wrap(fault.NotFound, err, "folder %s does not exist", filepath.Base(dir))
		}
		return nil, fault.Wrap(fault.Invalid, err, "folder %s cannot be read", filepath.Base(dir))
	}
	out := map[string]string{}
	for _, e := range entries {
		name := e.Name()
		ext := extension(name)
		if strings.HasPrefix(name, ".") || e.IsDir() || ext == "" {
			continue
		}
		id := strings.TrimSuffix(name, ext)
		if old, ok := out[id]; !ok || slices.Index(extensions, ext) < slices.Index(extensions, extension(old)) {
			out[id] = filepath.Join(dir, name)
		}
	}
	return out, nil
}

// extensions of images and labels in the order of preference when an id has
// several files, as in the datastore.
var extensions = []string{".nii.gz", ".nii", ".nrrd"}

func extension(name string) string {
	for _, e := range extensions {
		if strings.HasSuffix(name, e) && len(name) > len(e) {
			return e
		}
	}
	return ""
}

func imagesOf(images map[string]string, id string) []string {
	if f, ok := images[id]; ok {
		return []string{f}
	}
	var files []string
	for c := range maxChannels {
		f, ok := images[fmt.Sprintf("%s_%04d", id, c)]
		if !ok {
			break
		}
		files = append(files, f)
	}
	if len(files) < 2 {
		return nil
	}
	return files
}

// RecordedLabels reads the names of label values from the infos of the final
// labels in datastore_v2.json: params.label_names of proposals that were saved,
// or the segments that Slicer lists as label_info (value k+1 for the k-th of
// them, background and scribbles left out). nil where none is on record; labels
// that contradict one another are an error of kind fault.Conflict.
func RecordedLabels(dir string) (map[string]int, error) {
	data, err := os.ReadFile(filepath.Join(dir, "datastore_v2.json")) //nolint:gosec // the user names the folder
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "datastore_v2.json cannot be read")
	}
	var index struct {
		Objects map[string]struct {
			Labels map[string]struct {
				Info recordedInfo `json:"info"`
			} `json:"labels"`
		} `json:"objects"`
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "datastore_v2.json cannot be read: give --labels")
	}
	var names map[string]int
	for id, o := range index.Objects {
		found := o.Labels["final"].Info.names()
		if found == nil {
			continue
		}
		if names == nil {
			names = map[string]int{}
		}
		for name, value := range found {
			for other, v := range names {
				if (other == name) != (v == value) {
					return nil, fault.New(fault.Conflict, "the labels on record contradict one another (%s=%d and %s=%d, case %s): give --labels", other, v, name, value, id)
				}
			}
			names[name] = value
		}
	}
	return names, nil
}

// recordedInfo is what a label's info says about its values.
type recordedInfo struct {
	LabelInfo []struct {
		Name string `json:"name"`
	} `json:"label_info"`
	Params struct {
		LabelNames json.RawMessage `json:"label_names"`
	} `json:"params"`
}

func (r recordedInfo) names() map[string]int {
	var names map[string]int
	if json.Unmarshal(r.Params.LabelNames, &names) == nil && len(names) > 0 {
		delete(names, "background")
		return names
	}
	value := 0
	for _, l := range r.LabelInfo {
		if l.Name == "" || l.Name == "background" || strings.HasSuffix(l.Name, "_scribbles") {
			continue
		}
		if names == nil {
			names = map[string]int{}
		}
		value++
		names[l.Name] = value
	}
	return names
}
