package strategies

import (
	"strconv"

	"github.com/voxloop/voxloop/internal/ordered"
)

// ServedTimes reads when each strategy last handed an image out from the
// image's info: strategy.<name>.ts, as MONAI Label stores it. Entries of
// another form are left out.
func ServedTimes(info *ordered.Map) map[string]int64 {
	var times map[string]int64
	for name := range info.Sub("strategy").All() {
		v, _ := info.Sub("strategy").Sub(name).Get("ts")
		ts, ok := asInt(v)
		if !ok {
			continue
		}
		if times == nil {
			times = make(map[string]int64)
		}
		times[name] = ts
	}
	return times
}

// asInt reads the forms that a number has in an ordered.Map.
func asInt(v any) (int64, bool) {
	switch t := v.(type) {
	case interface{ String() string }: // json.Number
		if n, err := strconv.ParseInt(t.String(), 10, 64); err == nil {
			return n, true
		}
		f, err := strconv.ParseFloat(t.String(), 64)
		return int64(f), err == nil
	case int64:
		return t, true
	case int:
		return int64(t), true
	case float64:
		return int64(t), true
	}
	return 0, false
}
