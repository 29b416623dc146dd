package cli

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/imaging"
)

// inferParams are the --param options. Their names are those of the protocol's
// inference parameters.
type inferParams struct {
	options  infer.Options
	guidance map[string][][3]int
	dtype    imaging.DataType // Unknown: the smallest that fits
	compress bool
}

func parseParams(p pairs) (inferParams, error) {
	var out inferParams
	for _, key := range slices.Sorted(maps.Keys(p)) {
		if err := out.set(key, p[key]); err != nil {
			return out, err
		}
	}
	return out, nil
}

func (p *inferParams) set(key, text string) error {
	switch key {
	case "sw_overlap":
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || !(f > 0 && f < 1) {
			return usagef("--param sw_overlap=%s: a number between 0 and 1 is needed", text)
		}
		p.options.Overlap = f
	case "largest_cc":
		b, err := strconv.ParseBool(text)
		if err != nil {
			return usagef("--param largest_cc=%s: true or false is needed", text)
		}
		p.options.LargestComponent = &b
	case "result_compress":
		b, err := strconv.ParseBool(text)
		if err != nil {
			return usagef("--param result_compress=%s: true or false is needed", text)
		}
		p.compress = b
	case "result_dtype":
		t, ok := imaging.ParseDataType(text)
		if !ok {
			return usagef("--param result_dtype=%s: a type such as uint8, int16 or float32 is needed", text)
		}
		p.dtype = t
	default:
		return p.click(key, text)
	}
	return nil
}

// click reads the voxels that a user clicked for one label.
func (p *inferParams) click(label, text string) error {
	var points [][]int
	if err := json.Unmarshal([]byte(text), &points); err != nil {
		return usagef("--param %s: unknown, or as a label's clicks not of the form [[x,y,z],…]", label)
	}
	if p.guidance == nil {
		p.guidance = map[string][][3]int{}
	}
	for _, c := range points {
		if len(c) != 3 {
			return usagef("--param %s: a click has three indices, not %d", label, len(c))
		}
		p.guidance[label] = append(p.guidance[label], [3]int(c))
	}
	return nil
}
