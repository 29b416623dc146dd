package apps

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/voxloop/voxloop/infer"
)

// swapMetrics are what /metrics says about versions of models.
type swapMetrics struct {
	swaps   *prometheus.CounterVec   // voxloop_model_swaps_total{model,result}
	seconds *prometheus.HistogramVec // voxloop_model_swap_seconds{model}
}

func newSwapMetrics() *swapMetrics {
	return &swapMetrics{
		swaps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "voxloop_model_swaps_total", Help: "Swaps of models by result: done, refused, rolled_back.",
		}, []string{"model", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "voxloop_model_swap_seconds", Help: "Time from the wish for a version to its first possible request.",
			Buckets: []float64{0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100},
		}, []string{"model"}),
	}
}

// swapped counts a swap. Models have the names of the app's file.
func (m *swapMetrics) swapped(model string, s infer.Swap) {
	switch {
	case s.Refused != "":
		m.swaps.WithLabelValues(model, "refused").Inc()
		return
	case s.Origin == infer.OriginRollback:
		m.swaps.WithLabelValues(model, "rolled_back").Inc()
	default:
		m.swaps.WithLabelValues(model, "done").Inc()
	}
	m.seconds.WithLabelValues(model).Observe(s.Took.Seconds())
}

// versionCollector reads the versions at every scrape.
type versionCollector struct {
	engine   Engine
	info, by *prometheus.Desc
}

func newVersionCollector(e Engine) *versionCollector {
	return &versionCollector{
		engine: e,
		info:   prometheus.NewDesc("voxloop_model_version", "The version of a model in service; always 1.", []string{"model", "version", "device"}, nil),
		by:     prometheus.NewDesc("voxloop_model_versions", "Versions of a model by state: loading, ready, unloading, unavailable.", []string{"model", "state"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *versionCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.info
	ch <- c.by
}

// Collect implements prometheus.Collector.
func (c *versionCollector) Collect(ch chan<- prometheus.Metric) {
	v, _ := c.engine.(versioner)
	for _, m := range c.engine.Models() {
		if m.State == infer.Ready {
			device := ""
			if list, ok := m.Config.Get("device"); ok {
				if d, ok := list.([]any); ok && len(d) > 0 {
					device, _ = d[0].(string)
				}
			}
			ch <- prometheus.MustNewConstMetric(c.info, prometheus.GaugeValue, 1, m.Name, m.Version, device)
		}
		if v == nil {
			continue
		}
		all, err := v.Versions(m.Name)
		if err != nil {
			continue // the folder cannot be read just now
		}
		states := map[infer.State]int{infer.Loading: 0, infer.Ready: 0, infer.Unloading: 0, infer.Unavailable: 0}
		for _, x := range all {
			states[x.State]++
		}
		for s, n := range states {
			ch <- prometheus.MustNewConstMetric(c.by, prometheus.GaugeValue, float64(n), m.Name, string(s))
		}
	}
}
