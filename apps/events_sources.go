package apps

import (
	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/jobs"
	"github.com/voxloop/voxloop/internal/ordered"
)

// stored tells of labels that people save.
func (h *events) stored(e datastore.Event) {
	if e.Kind != datastore.LabelSaved {
		return
	}
	l, ok := e.Image.Label(e.Tag)
	if !ok || l.Info.String("model") != "" {
		return
	}
	h.emit(LabelSaved, ordered.Of("image", e.Image.ID, "tag", e.Tag, "version", l.Version))
}

// task tells that a task runs or has ended.
func (h *events) task(kind string, t jobs.Task) {
	data := ordered.Of("kind", kind, "id", t.ID, "status", string(t.Status))
	for _, key := range []string{"model", "method"} {
		if name := t.Request.String(key); name != "" {
			data.Set(key, clip(name))
		}
	}
	switch {
	case t.Status == jobs.Running:
		h.emit(TaskStarted, data)
	case t.Finished():
		last := ""
		if n := len(t.Details); n > 0 {
			last = t.Details[n-1]
		}
		h.emit(TaskEnded, data.Set("message", last))
	}
}

// swapped tells of versions that went into service, or could not.
func (h *events) swapped(model string, s infer.Swap) {
	data := ordered.Of("model", model, "from", s.From, "to", s.To, "origin", string(s.Origin), "reason", s.Reason)
	switch {
	case s.Refused != "":
		h.emit(ModelRefused, data.Set("why", s.Refused))
	case s.Origin == infer.OriginRollback:
		h.emit(ModelRolledBack, data.Set("seconds", s.Took.Seconds()))
	default:
		h.emit(ModelPublished, data.Set("seconds", s.Took.Seconds()))
	}
}

// judged tells a verdict.
func (h *events) judged(j Judgement) {
	h.emit(VerdictGiven, ordered.Of("model", j.Model).Merge(j.summary()))
}
