package dataset

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/voxloop/voxloop/internal/ordered"
)

// indexName is the data store's index, in MONAI Label's form.
const indexName = "datastore_v2.json"

// writeIndex writes the index of a new studies folder. Names of label values
// stand in every final label's info as params.label_names, as a proposal that
// was saved has them: voxloop model new reads them there.
func writeIndex(dir string, r *Record) error {
	values := &ordered.Map{}
	for _, l := range sortedLabels(r.Labels) {
		values.Set(l.Name, l.Value)
	}
	objects := &ordered.Map{}
	for _, c := range r.Cases {
		image := ordered.Of("ext", extOf(c.Images[0]), "info", ordered.Of("name", c.Images[0]))
		if len(c.Images) > 1 {
			files := make([]any, len(c.Images))
			for i, f := range c.Images {
				files[i] = f
			}
			image.Set("files", files)
		}
		labels := &ordered.Map{}
		if c.Label != "" {
			info := ordered.Of("name", filepath.Base(c.Label), "params", ordered.Of("label_names", values))
			labels.Set("final", ordered.Of("ext", extOf(c.Label), "info", info))
		}
		objects.Set(c.ID, ordered.Of("image", image, "labels", labels))
	}
	about := []string{r.Title}
	for _, text := range []string{r.Licence, r.Cite} {
		if text != "" {
			about = append(about, text)
		}
	}
	data, err := ordered.Indent(ordered.Of("name", r.Name, "description", strings.Join(about, "; "), "objects", objects))
	if err != nil {
		return err
	}
	return diskFault(atomicWrite(filepath.Join(dir, indexName), data), "the index")
}

// sortedLabels returns labels in the order of their values.
func sortedLabels(m map[string]int) []Label {
	labels := make([]Label, 0, len(m))
	for name, v := range m {
		labels = append(labels, Label{name, v})
	}
	slices.SortFunc(labels, func(a, b Label) int { return a.Value - b.Value })
	return labels
}
