package dataset

import (
	"encoding/json"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"

	"github.com/voxloop/voxloop/internal/fault"
)

// maxDescription bounds dataset.json, which lists every case.
const maxDescription = 64 << 20

// description is what a dataset.json says.
type description struct {
	labels   []Label
	channels []string
}

// readDescription reads a dataset.json of the Decathlon's form ("1": "name",
// "modality": {"0": "CT"}) or nnU-Net's ("name": 1, "channel_names"). Label
// values that are no whole numbers (nnU-Net's regions) are Invalid.
func readDescription(path string) (description, error) {
	var d description
	f, err := os.Open(path) //nolint:gosec // taken from the archive
	if err != nil {
		return d, diskFault(err, descriptionName)
	}
	defer func() { _ = f.Close() }() // only read
	var doc struct {
		Labels   map[string]json.RawMessage `json:"labels"`
		Modality map[string]string          `json:"modality"`
		Channels map[string]string          `json:"channel_names"`
	}
	if err := json.NewDecoder(io.LimitReader(f, maxDescription)).Decode(&doc); err != nil {
		return d, fault.Wrap(fault.Invalid, err, "%s cannot be read", descriptionName)
	}
	for key, raw := range doc.Labels {
		l, err := describedLabel(key, raw)
		if err != nil {
			return d, err
		}
		if l.Value != 0 {
			d.labels = append(d.labels, l)
		}
	}
	slices.SortFunc(d.labels, func(a, b Label) int { return a.Value - b.Value })
	d.channels = inOrder(doc.Channels)
	if d.channels == nil {
		d.channels = inOrder(doc.Modality)
	}
	return d, checkLabels(d.labels)
}

func describedLabel(key string, raw json.RawMessage) (Label, error) {
	var name string
	if json.Unmarshal(raw, &name) == nil {
		if v, err := strconv.Atoi(key); err == nil {
			return Label{name, v}, nil
		}
		if v, err := strconv.Atoi(name); err == nil {
			return Label{key, v}, nil
		}
	}
	var value int
	if json.Unmarshal(raw, &value) != nil {
		return Label{}, fault.New(fault.Invalid, "%s: the label %q is %.60s, no whole number: regions of several values are not supported", descriptionName, key, raw)
	}
	return Label{key, value}, nil
}

// checkLabels refuses values outside 1..65535 and names or values that come
// twice.
func checkLabels(labels []Label) error {
	byName, byValue := map[string]bool{}, map[int]bool{}
	for _, l := range labels {
		if l.Name == "" || l.Value < 1 || l.Value > 65535 {
			return fault.New(fault.Invalid, "the label %q has the value %d: a name and a value within 1..65535 are needed", l.Name, l.Value)
		}
		if byName[l.Name] || byValue[l.Value] {
			return fault.New(fault.Invalid, "the label %s=%d has a name or a value that another label has", l.Name, l.Value)
		}
		byName[l.Name], byValue[l.Value] = true, true
	}
	return nil
}

// inOrder returns the values of "0", "1", …; nil where one is missing.
func inOrder(m map[string]string) []string {
	var out []string
	for i := range len(m) {
		v, ok := m[strconv.Itoa(i)]
		if !ok {
			return nil
		}
		out = append(out, v)
	}
	return out
}

// choose returns the labels that are wanted, with their values in the set (for
// reading) and in the folder. wanted maps names to values, 0 for the next free
// one in the order of the set; nil takes all as they are.
func choose(labels []Label, wanted map[string]int) (out []Label, values map[int]int, err error) {
	if wanted == nil {
		return labels, nil, nil
	}
	left := maps.Clone(wanted)
	taken := map[int]bool{}
	for _, v := range wanted {
		taken[v] = true
	}
	next := 1
	values = map[int]int{}
	for _, l := range labels {
		v, ok := wanted[l.Name]
		if !ok {
			continue
		}
		delete(left, l.Name)
		for ; v == 0; next++ {
			if !taken[next] {
				v = next
			}
		}
		values[l.Value] = v
		out = append(out, Label{l.Name, v})
	}
	if len(left) > 0 {
		return nil, nil, fault.New(fault.Invalid, "the set has no label %q; it has %q", slices.Sorted(maps.Keys(left))[0], slices.Sorted(maps.Keys(names(labels))))
	}
	return out, values, nil
}
