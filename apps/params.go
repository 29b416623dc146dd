package apps

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/ordered"

	"github.com/voxloop/voxloop/datastore"
)

// wishes are the params of an inference that mean something here. Others are
// accepted and left alone: clients send their whole options table.
type wishes struct {
	ext      string           // of the result file, with dot; "" takes the image's
	dtype    imaging.DataType // of the result file; Unknown takes the smallest that fits
	compress bool             // an NRRD result
	write    bool             // a result file is wanted
	save     bool             // keep the result as a label
	tag      string           // of that label
	restore  bool             // voxel values as in the manifest, not 1..N
	options  infer.Options    // overlap, largest component
	guidance map[string][][3]int

	uncertain *uncertainWishes // nil: nobody asks
}

// parseWishes reads the params. A recognised key with a value of the wrong
// type is fault.Missing, naming the key.
func parseWishes(p *ordered.Map, m infer.Info) (wishes, error) {
	w := wishes{write: true, tag: datastore.TagOriginal}
	var err error
	read := func(key string, fn func(v any) bool, want string) {
		v := value(p, key)
		if v == nil || err != nil || fn(v) {
			return
		}
		err = fault.New(fault.Missing, "params.%s must be %s", key, want)
	}
	read("result_extension", func(v any) bool { return resultExt(v, &w.ext) }, "one of .nii.gz, .nii, .nrrd and .seg.nrrd")
	read("result_dtype", func(v any) bool { return resultType(v, &w.dtype) }, "a NumPy type name such as uint8, uint16 or float32")
	read("label_tag", func(v any) bool {
		s, ok := v.(string)
		if s != "" {
			w.tag = s
		}
		return ok
	}, "a string")
	for key, dst := range map[string]*bool{
		"result_compress": &w.compress, "result_write_to_file": &w.write, "save_label": &w.save, "restore_label_idx": &w.restore,
	} {
		read(key, func(v any) bool { *dst = truthy(v); return true }, "true or false")
	}
	read("largest_cc", func(v any) bool { b := truthy(v); w.options.LargestComponent = &b; return true }, "true or false")
	read("sw_overlap", func(v any) bool {
		f, ok := asFloat(v)
		w.options.Overlap = f
		return ok && f > 0 && f < 1
	}, "a number between 0 and 1")
	if err == nil {
		w.uncertain, err = parseUncertain(p)
	}
	if err != nil {
		return w, err
	}
	if w.save {
		if err := datastore.CheckTag(w.tag); err != nil {
			return w, err
		}
	}
	w.guidance, err = guidance(p, m)
	return w, err
}

// resultExts are the formats of result files.
var resultExts = []string{".nii.gz", ".nii", ".nrrd", ".seg.nrrd"}

func resultExt(v any, dst *string) bool {
	s, ok := v.(string)
	if s != "" && s[0] != '.' {
		s = "." + s
	}
	s = strings.ToLower(s)
	*dst = s
	return ok && (s == "" || slices.Contains(resultExts, s))
}

func resultType(v any, dst *imaging.DataType) bool {
	s, ok := v.(string)
	if !ok || s == "" {
		return ok
	}
	*dst, ok = imaging.ParseDataType(s)
	return ok
}

// guidance reads the clicks of interactive models: a key per label of the
// model, or foreground and background, each a list of voxel indices of the
// image as it was served. Automatic models take none.
func guidance(p *ordered.Map, m infer.Info) (map[string][][3]int, error) {
	if m.Type == "segmentation" {
		return nil, nil
	}
	keys := []string{"foreground", "background"}
	for _, l := range m.Labels {
		keys = append(keys, l.Name)
	}
	var out map[string][][3]int
	for _, key := range keys {
		v := value(p, key)
		if v == nil {
			continue
		}
		points, ok := asPoints(v)
		if !ok {
			return nil, fault.New(fault.Missing, "params.%s must be a list of voxel indices [[i, j, k], …]", key)
		}
		if out == nil {
			out = map[string][][3]int{}
		}
		out[key] = points
	}
	return out, nil
}

func asPoints(v any) ([][3]int, bool) {
	list, ok := v.([]any)
	if !ok {
		return nil, false
	}
	points := make([][3]int, 0, len(list))
	for _, e := range list {
		c, ok := e.([]any)
		if !ok || len(c) < 2 || len(c) > 3 {
			return nil, false
		}
		var p [3]int // a 2-D client sends no slice: 0
		for i := range c {
			f, ok := asFloat(c[i])
			if !ok || math.Abs(f) > 1e9 {
				return nil, false
			}
			p[i] = int(math.Round(f))
		}
		points = append(points, p)
	}
	return points, true
}

func value(m *ordered.Map, key string) any {
	v, _ := m.Get(key)
	return v
}

// asFloat accepts a number and, as options forms send them, a number in a
// string.
func asFloat(v any) (float64, bool) {
	var s string
	switch t := v.(type) {
	case json.Number:
		s = t.String()
	case string:
		s = strings.TrimSpace(t)
	case int:
		return float64(t), true
	case int64:
		return float64(t), true
	case float64:
		s = strconv.FormatFloat(t, 'g', -1, 64)
	default:
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
}

// asInt accepts an integral number.
func asInt(v any) (int, bool) {
	f, ok := asFloat(v)
	if !ok || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int(f), true
}

// truthy reads a switch as clients send it: a JSON bool, a number, or the
// text of one. "false", "0", "no", "off" and "" are false.
func truthy(v any) bool {
	switch t := v.(type) {
	case bool:
		return t
	case string:
		switch strings.ToLower(strings.TrimSpace(t)) {
		case "", "false", "0", "no", "off", "f", "n", "none", "null":
			return false
		}
		return true
	case nil:
		return false
	}
	if f, ok := asFloat(v); ok {
		return f != 0
	}
	switch t := v.(type) {
	case []any:
		return len(t) > 0
	case *ordered.Map:
		return t.Len() > 0
	}
	return true
}
