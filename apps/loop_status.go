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
		var j Judgement
		if err := loadJSON(filepath.Join(dir, e.Name()), &j); err != nil {
			a.log.Warn("a verdict cannot be read", "model", model, "file", e.Name(), "err", err)
			continue
		}
		if x, err := a.Shadow(model, j.Version); err == nil && len(x.Cases) > 0 {
			j.Shadow = x.summary()
		}
		out = append(out, j)
	}
	slices.SortFunc(out, func(x, y Judgement) int { return cmp.Or(y.Time.Compare(x.Time), cmp.Compare(x.Version, y.Version)) })
	return out
}

// LastJudgement returns the newest verdict on any version of a model.
func (a *App) LastJudgement(model string) (Judgement, bool) {
	if all := a.Judgements(model); len(all) > 0 {
		return all[0], true
	}
	return Judgement{}, false
}

// timeText is a moment in local time, "" for none.
func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.RFC3339)
}

func nonNil(s []string) []string { return append([]string{}, s...) }
