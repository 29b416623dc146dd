package apps

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/voxloop/voxloop/internal/ordered"
)

// LoopStatus tells people how the loop stands: what the schedule does next, who
// is held out, and the last verdict of every model.
func (a *App) LoopStatus() *ordered.Map {
	l := a.loop
	s := l.clock.Status()
	o := l.rules.o.Schedule
	out := ordered.Of(
		"schedule", ordered.Of("cron", nonNil(o.Cron), "new_labels", o.NewLabels, "windows", nonNil(o.Windows), "minutes", l.rules.o.Minutes),
		"next_run", timeText(s.NextCron), "waiting", s.Waiting, "new_labels", s.State.NewLabels,
		"last_start", timeText(s.State.Started), "last_end", timeText(s.State.Ended),
		"training", nil,
		"hold_out", ordered.Of("subjects", l.held.subjects(), "share", l.rules.o.HoldOut.Share, "least", l.rules.o.HoldOut.Least),
	)
	if t, ok := a.tasks.Train.Running(); ok {
		out.Set("training", t.Object())
	}
	verdicts := &ordered.Map{}
	for _, m := range a.refs {
		if j, ok := a.LastJudgement(m.Name); ok {
			verdicts.Set(m.Name, j.summary())
		}
	}
	shadows := &ordered.Map{}
	for _, m := range a.refs {
		if x, err := a.Shadow(m.Name, ""); err == nil {
			shadows.Set(m.Name, ordered.Of("version", x.Version, "summary", x.summary()))
		}
	}
	return out.Set("last_verdict", verdicts).Set("in_service", l.watch.object()).Set("shadow", shadows)
}

// Schedule returns the next time of the schedule, "" without one, and the last
// verdict on a model, nil without one: what is shown with a training.
func (a *App) Schedule(model string) (next string, verdict *ordered.Map) {
	if j, ok := a.LastJudgement(model); ok {
		verdict = j.summary()
	}
	return timeText(a.loop.clock.Status().NextCron), verdict
}

func (j *Judgement) summary() *ordered.Map {
	v := j.Verdict
	o := ordered.Of(
		"version", j.Version, "against", j.Against, "time", timeText(j.Time), "pass", v.Pass, "reason", v.Reason, "cases", v.Mean.Cases,
		"dice", v.Mean.Candidate, "dice_in_service", v.Mean.Current, "change", v.Mean.Change, "p_bootstrap", v.PBootstrap, "p_wilcoxon", v.PWilcoxon,
	)
	if j.Shadow != nil {
		o.Set("shadow", j.Shadow)
	}
	return o
}

// Judgements returns the verdicts on a model's versions, newest first.
func (a *App) Judgements(model string) []Judgement {
	dir := filepath.Join(a.loop.dir, verdictsDir, model)
	entries, err := os.ReadDir(dir)
	if err != nil || !slices.ContainsFunc(a.refs, func(m ModelRef) bool { return m.Name == model }) {
		return nil
	}
	var out []Judgement
	for _, e := range entries {
		j, ok := a.judgement(model, filepath.Join(dir, e.Name()))
		if !ok {
			continue
		}
		out = append(out, j)
	}
	slices.SortFunc(out, func(x, y Judgement) int { return cmp.Or(y.Time.Compare(x.Time), cmp.Compare(x.Version, y.Version)) })
	return out
}

// LastJudgement returns the newest verdict on any version of a model.
func (a *App) LastJudgement(model string) (Judgement, bool) {
	dir := filepath.Join(a.loop.dir, verdictsDir, model)
	entries, err := os.ReadDir(dir)
	if err != nil || !slices.ContainsFunc(a.refs, func(m ModelRef) bool { return m.Name == model }) {
		return Judgement{}, false
	}
	written := map[string]time.Time{}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			written[e.Name()] = info.ModTime()
		}
	}
	slices.SortFunc(entries, func(x, y os.DirEntry) int { return written[y.Name()].Compare(written[x.Name()]) })
	for _, e := range entries {
		if j, ok := a.judgement(model, filepath.Join(dir, e.Name())); ok {
			return j, true
		}
	}
	return Judgement{}, false
}

// judgement reads a verdict, and what the version has done in the shadow.
func (a *App) judgement(model, file string) (j Judgement, ok bool) {
	if err := loadJSON(file, &j); err != nil {
		a.log.Warn("a verdict cannot be read", "model", model, "file", filepath.Base(file), "err", err)
		return j, false
	}
	if x, err := a.Shadow(model, j.Version); err == nil && len(x.Cases) > 0 {
		j.Shadow = x.summary()
	}
	return j, true
}

// timeText is a moment in local time, "" for none.
func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.RFC3339)
}

func nonNil(s []string) []string { return append([]string{}, s...) }
