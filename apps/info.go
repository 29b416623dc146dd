package apps

import (
	"slices"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/ordered"
)

// Info returns the answer to GET /info/. Key order is part of the protocol:
// clients preselect the first model and the first strategy.
func (a *App) Info() *ordered.Map {
	models, labels := &ordered.Map{}, a.file.Labels
	var union []string
	for _, m := range a.engine.Models() {
		if m.State == infer.Unavailable {
			continue
		}
		models.Set(m.Name, modelObject(m))
		for _, l := range byValue(m.Labels) {
			if !slices.Contains(union, l.Name) {
				union = append(union, l.Name)
			}
		}
	}
	if labels == nil {
		labels = union
	}
	strategies := &ordered.Map{}
	for _, s := range a.strategies {
		strategies.Set(s.Name(), ordered.Of("description", s.Description()))
	}
	return ordered.Of(
		"name", a.file.Name, "description", a.file.Description, "version", a.file.Version,
		"labels", append([]string{}, labels...), "models", models, "trainers", a.trainersObject(),
		"strategies", strategies, "scoring", a.scoringObject(), "train_stats", a.trainStatsObject(),
		"datastore", a.StatsObject(),
	)
}

// modelObject is what clients are told about a model.
func modelObject(m infer.Info) *ordered.Map {
	labels := LabelNames(m.Labels)
	config := m.Config.Clone()
	if config == nil {
		config = &ordered.Map{}
	}
	o := ordered.Of("type", m.Type, "labels", labels, "dimension", m.Dimension, "description", m.Description, "config", config)
	if m.Version != "" {
		o.Set("version", m.Version)
	}
	return o
}

// LabelNames returns label name → voxel value in order of the values.
func LabelNames(labels []infer.Label) *ordered.Map {
	o := &ordered.Map{}
	for _, l := range byValue(labels) {
		o.Set(l.Name, l.Value)
	}
	return o
}

func byValue(labels []infer.Label) []infer.Label {
	sorted := slices.Clone(labels)
	slices.SortStableFunc(sorted, func(a, b infer.Label) int { return a.Value - b.Value })
	return sorted
}

// StatsObject returns the counts of the data store as clients see them.
func (a *App) StatsObject() *ordered.Map {
	s := a.store.Stats()
	tags := &ordered.Map{}
	for _, t := range s.Tags {
		tags.Set(t.Tag, t.Count)
	}
	return ordered.Of("total", s.Total, "completed", s.Completed, "label_tags", tags)
}

// Status is a short account for the status page and probes.
type Status struct {
	Name, Description, Version    string
	Images, Completed, Quarantine int
	Models                        []infer.Info
}

// Status returns the present state of the app.
func (a *App) Status() Status {
	s := a.store.Stats()
	return Status{
		Name: a.file.Name, Description: a.file.Description, Version: a.file.Version,
		Images: s.Total, Completed: s.Completed, Quarantine: s.Quarantined, Models: a.engine.Models(),
	}
}
