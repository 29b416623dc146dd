package apps

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
)

// metrics are what /metrics says about the app. Names are in base units.
type metrics struct {
	total *prometheus.CounterVec   // voxloop_inferences_total{model,result}
	stage *prometheus.HistogramVec // voxloop_inference_stage_seconds{model,stage}
	known func(model string) bool
}

func newMetrics(known func(model string) bool) *metrics {
	return &metrics{
		known: known,
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "voxloop_inferences_total", Help: "Inferences by model and result (ok, or the kind of failure).",
		}, []string{"model", "result"}),
		stage: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "voxloop_inference_stage_seconds", Help: "Time of the stages of an inference.",
			Buckets: []float64{0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100},
		}, []string{"model", "stage"}),
	}
}

// inferred counts a finished inference. Names that clients made up share one
// label value: they must not grow the registry.
func (m *metrics) inferred(model string, err error) {
	if !m.known(model) {
		model = "unknown"
	}
	result := "ok"
	if err != nil {
		result = fault.KindOf(err).String()
	}
	m.total.WithLabelValues(model, result).Inc()
}

func (m *metrics) stages(model string, t timings) {
	observe := func(stage string, d time.Duration) {
		m.stage.WithLabelValues(model, stage).Observe(d.Seconds())
	}
	observe("read", t.read)
	for _, s := range t.stages {
		observe(s.Name, s.Duration)
	}
	observe("centroids", t.centroids)
	observe("write", t.write)
}

// collector reads the app's present state at every scrape.
type collector struct {
	app                                            *App
	inflight, models, images, labelled, quarantine *prometheus.Desc
	labels, tasks                                  *prometheus.Desc
}

func newCollector(a *App) *collector {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &collector{
		app:        a,
		inflight:   d("voxloop_inferences_in_flight", "Inferences that run or wait."),
		models:     d("voxloop_models", "Models by state.", "state"),
		images:     d("voxloop_datastore_images", "Images in the data store."),
		labelled:   d("voxloop_datastore_images_labelled", "Images with a final label."),
		quarantine: d("voxloop_datastore_images_quarantined", "Images that cannot be read."),
		labels:     d("voxloop_datastore_labels", "Labels by tag: final, original, other.", "tag"),
		tasks:      d("voxloop_tasks", "Unfinished tasks by kind.", "kind"),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.inflight, c.models, c.images, c.labelled, c.quarantine, c.labels, c.tasks} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	gauge(c.inflight, int(c.app.gate.now.Load()))
	states := map[infer.State]int{infer.Loading: 0, infer.Ready: 0, infer.Unavailable: 0}
	for _, m := range c.app.engine.Models() {
		states[m.State]++
	}
	for s, n := range states {
		gauge(c.models, n, string(s))
	}
	s := c.app.store.Stats()
	gauge(c.images, s.Total)
	gauge(c.labelled, s.Completed)
	gauge(c.quarantine, s.Quarantined)
	// Clients invent tags (version_1, version_2, …): those share one value.
	tags := map[string]int{datastore.TagFinal: 0, datastore.TagOriginal: 0, "other": 0}
	for _, t := range s.Tags {
		tag := t.Tag
		if _, ok := tags[tag]; !ok {
			tag = "other"
		}
		tags[tag] += t.Count
	}
	for tag, n := range tags {
		gauge(c.labels, n, tag)
	}
	for _, q := range c.app.tasks.all() {
		n := q.Waiting()
		if _, ok := q.Running(); ok {
			n++
		}
		gauge(c.tasks, n, q.Kind())
	}
}

// register makes collectors known to r, which may be nil.
func register(r prometheus.Registerer, all ...prometheus.Collector) error {
	if r == nil {
		return nil
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			return fault.Wrap(fault.Internal, err, "the metrics cannot be registered")
		}
	}
	return nil
}
