package apps

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/jobs"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/strategies"
)

// selectMetrics are what /metrics says about the scoring of images.
type selectMetrics struct {
	scored, failed, preempted, seconds prometheus.Counter
	images                             *imagesCollector
}

func newSelectMetrics(s *selection) *selectMetrics {
	c := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	return &selectMetrics{
		scored:    c("voxloop_selection_scored_total", "Images that were scored."),
		failed:    c("voxloop_selection_failed_total", "Images that could not be scored."),
		preempted: c("voxloop_selection_preempted_total", "Measurements that gave way to a request for an inference."),
		seconds:   c("voxloop_selection_seconds_total", "Time that measurements took on the device."),
		images: &imagesCollector{s: s, desc: prometheus.NewDesc("voxloop_selection_images",
			"Images that may be handed out by the state of their scores: fresh, stale, unscored; flagged: asked for last.", []string{"state"}, nil)},
	}
}

func (m *selectMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.scored, m.failed, m.preempted, m.seconds, m.images}
}

// imagesCollector reads the index at every scrape.
type imagesCollector struct {
	s    *selection
	desc *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *imagesCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector.
func (c *imagesCollector) Collect(ch chan<- prometheus.Metric) {
	v := c.s.index.Coverage(c.s.model)
	for state, n := range map[string]int{"fresh": v.Fresh, "stale": v.Stale, "unscored": v.Unscored, "flagged": v.Flagged} {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(n), state)
	}
}

func scoresData(model, version string, scored int, seconds float64) *ordered.Map {
	return ordered.Of("model", model, "version", version, "scored", scored, "seconds", math.Round(seconds*1000)/1000)
}

// SelectionStatus tells people how the scoring of images stands.
func (a *App) SelectionStatus() *ordered.Map {
	s := a.selection
	v := s.index.Coverage(s.model)
	s.mu.Lock()
	blocked, at := s.blocked, len(s.flight)
	s.mu.Unlock()
	o := ordered.Of(
		"model", s.model, "version", v.Version, "round", v.Round, "passes", string(s.rules.Passes), "aggregation", s.rules.observe.Aggregation(),
		"images", s.index.Len(), "labelled", s.index.Labelled(), "fresh", v.Fresh, "stale", v.Stale, "unscored", v.Unscored, "flagged", v.Flagged,
		"leases", len(s.index.Leases(time.Now())), "budget", s.o.Budget, "control", s.o.Control, "at_work", at > 0,
	)
	if blocked != "" {
		o.Set("blocked", blocked)
	}
	all := &ordered.Map{}
	for _, s := range a.strategies {
		about := ordered.Of("description", s.Description())
		if c, ok := s.(strategies.Configured); ok {
			about.Set("parameters", c.Parameters())
		}
		all.Set(s.Name(), about)
	}
	return o.Set("strategies", all).Set("against_random", s.control.status())
}

// scoreUncertainty is the scoring method "epistemic": it looks at every image
// whose score is missing or stale, without the budget's rests, and answers as
// the reference does. max_samples of the request bounds how many.
func (a *App) scoreUncertainty(ctx context.Context, j *jobs.Job) (any, error) {
	s := a.selection
	most := 0
	if v := value(j.Request, "max_samples"); v != nil {
		n, ok := asInt(v)
		if !ok || n < 0 {
			return nil, fault.New(fault.Missing, "max_samples must be a number of images, 0 for all")
		}
		most = n
	}
	if err := a.engine.Wait(ctx, s.model); err != nil {
		return nil, err
	}
	select {
	case <-s.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.serve()
	begin, before := time.Now(), s.index.Coverage(s.model)
	todo := before.Stale + before.Unscored
	total := before.Fresh + todo
	if most > 0 {
		todo = min(todo, most)
	}
	j.Log(stamped(fmt.Sprintf("%d of %d images to score with %s, version %s", todo, total, s.model, before.Version)))
	s.mu.Lock()
	s.hurry++
	if s.allow = most; most == 0 {
		s.allow = -1
	}
	round, scored := s.round, s.looks
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.hurry--
		s.mu.Unlock()
	}()
	nudge(s.wake)
	for {
		s.mu.Lock()
		done, over, blocked := s.looks-scored, s.round > round, s.blocked
		s.mu.Unlock()
		if done > 0 && done < todo {
			j.Progress(stamped(fmt.Sprintf("%d of %d images scored; %s", done, todo, remaining(time.Since(begin)/time.Duration(done), todo-done))))
		}
		if over && blocked != "" && done == 0 {
			return nil, fault.New(fault.Conflict, "%s", blocked)
		}
		if over || most > 0 && done >= most {
			if most > 0 {
				done = min(done, most) // the background's own work does not count
			}
			took := time.Since(begin).Seconds()
			j.Log(stamped(fmt.Sprintf("%d images scored, %d were current", done, before.Fresh)))
			return ordered.Of("total", total, "skipped", before.Fresh, "executed", done, "latency", decimal(math.Round(took*1000)/1000)), nil
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// SelectionRanking returns the first images that may be handed out by a measure
// of uncertainty, "" for entropy. Nothing is handed out by it. Faults: Missing.
func (a *App) SelectionRanking(measure string, limit int) (*ordered.Map, error) {
	by := strategies.Measure(measure)
	if by == "" {
		by = strategies.Entropy
	}
	switch {
	case !slices.Contains(strategies.Measures(), by):
		return nil, fault.New(fault.Missing, "measure: %q is none of %v", clip(measure), strategies.Measures())
	case limit < 1 || limit > maxRanking:
		return nil, fault.New(fault.Missing, "limit: %d is not within 1..%d", limit, maxRanking)
	}
	s := a.selection
	ranked, _ := s.index.Ranking(s.model, by, limit)
	list := make([]*ordered.Map, 0, len(ranked))
	for i, r := range ranked {
		list = append(list, ordered.Of("rank", i+1, "id", r.ID, "score", r.Score, "version", r.Version, "stale", r.Stale))
	}
	return ordered.Of("model", s.model, "measure", string(by), "images", list), nil
}

// maxRanking bounds a ranking.
const maxRanking = 100_000
