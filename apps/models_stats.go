package apps

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/voxloop/voxloop/internal/ordered"
)

// ModelStats returns the train_stats of the version in service as the protocol
// has them; nil when it was not trained here.
func (a *App) ModelStats(name string) *ordered.Map { return trainStats(a.ModelTraining(name)) }

// trainStats makes train_stats of a training.json (trainers.Record). Clients
// show best_metric as a number, epoch, total_epochs and total_time. Nil when
// there is none, or it tells no epochs.
func trainStats(training json.RawMessage) *ordered.Map {
	var r struct {
		Epochs []struct {
			Epoch int      `json:"epoch"`
			Loss  float64  `json:"loss"`
			Mean  *float64 `json:"mean_dice"`
		} `json:"epochs"`
		Plan struct {
			Epochs int `json:"epochs"`
		} `json:"plan"`
		Steps   int       `json:"steps"`
		Written time.Time `json:"written"`
		Seconds float64   `json:"seconds"`
	}
	if training == nil || json.Unmarshal(training, &r) != nil || len(r.Epochs) == 0 {
		return nil
	}
	last := r.Epochs[len(r.Epochs)-1].Epoch
	best, at, loss, lossAt := 0.0, 0, r.Epochs[0].Loss, r.Epochs[0].Epoch
	metrics := &ordered.Map{}
	for _, e := range r.Epochs {
		if e.Loss < loss {
			loss, lossAt = e.Loss, e.Epoch
		}
		if e.Mean != nil && (at == 0 || *e.Mean > best) {
			best, at = *e.Mean, e.Epoch
		}
	}
	if at > 0 {
		metrics.Set("val_mean_dice", decimal(best))
	}
	took := time.Duration(r.Seconds * float64(time.Second)).Round(time.Second)
	h, m, s := int(took.Hours()), int(took.Minutes())%60, int(took.Seconds())%60
	part := func(metrics *ordered.Map, key string, best float64, at int) *ordered.Map {
		return ordered.Of("metrics", metrics, "key_metric_name", key, "best_metric", decimal(best), "best_metric_epoch", at)
	}
	return ordered.Of(
		"rank", 0, "current_epoch", last, "current_iteration", r.Steps, "total_epochs", max(r.Plan.Epochs, last), "total_iterations", r.Steps,
		"epoch", last, "start_ts", r.Written.Add(-took).Unix(), "total_time", fmt.Sprintf("%d:%02d:%02d", h, m, s), "best_metric", decimal(best),
		"train", part(ordered.Of("train_loss", decimal(loss)), "train_loss", loss, lossAt),
		"eval", part(metrics, "val_mean_dice", best, at),
	)
}

// decimal is a number that clients do not take for an integer.
func decimal(f float64) json.Number {
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return json.Number(s)
}
