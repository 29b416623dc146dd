package apps

import (
	"encoding/json"
	"time"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/ordered"
)

// VersionsObject is what clients are told about a model's versions.
func VersionsObject(model string, versions []infer.Version, history []infer.Swap) *ordered.Map {
	var inService any
	list := make([]any, 0, len(versions))
	for _, v := range versions {
		if v.InService {
			inService = v.ID
		}
		list = append(list, VersionObject(v))
	}
	swaps := make([]any, 0, len(history))
	for _, s := range history {
		swaps = append(swaps, swapObject(s))
	}
	return ordered.Of("model", model, "in_service", inService, "versions", list, "history", swaps)
}

// VersionObject is what clients are told about one version.
func VersionObject(v infer.Version) *ordered.Map {
	o := ordered.Of("version", v.ID, "state", string(v.State), "in_service", v.InService, "previous", v.Previous, "pinned", v.Pinned, "app", v.App)
	if v.Why != "" {
		o.Set("why", v.Why)
	}
	o.Set("origin", string(v.Origin))
	for _, t := range []struct{ key, text string }{{"reason", v.Reason}, {"parent", v.Parent}, {"checksum", v.Checksum}} {
		if t.text != "" {
			o.Set(t.key, t.text)
		}
	}
	if !v.Created.IsZero() {
		o.Set("created", v.Created.Format(time.RFC3339))
	}
	if v.Bytes > 0 {
		o.Set("bytes", v.Bytes)
	}
	var trained struct {
		Mean *float64           `json:"mean_dice"`
		Dice map[string]float64 `json:"dice"`
	}
	if v.Training != nil && json.Unmarshal(v.Training, &trained) == nil && trained.Mean != nil {
		o.Set("mean_dice", *trained.Mean).Set("dice", trained.Dice)
	}
	return o
}

func swapObject(s infer.Swap) *ordered.Map {
	o := ordered.Of("n", s.N, "time", s.Time.Format(time.RFC3339), "from", s.From, "to", s.To, "origin", string(s.Origin))
	if s.Reason != "" {
		o.Set("reason", s.Reason)
	}
	if s.Refused != "" {
		o.Set("refused", s.Refused)
	}
	return o.Set("seconds", s.Took.Seconds())
}
