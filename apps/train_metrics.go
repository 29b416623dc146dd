package apps

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/voxloop/voxloop/internal/fault"
)

// trainMetrics are what /metrics says about trainings. Trainers are those of the
// app: names that clients made up do not get here.
type trainMetrics struct {
	now     atomic.Int32
	running prometheus.GaugeFunc     // voxloop_training_running
	total   *prometheus.CounterVec   // voxloop_trainings_total{trainer,result}
	seconds *prometheus.HistogramVec // voxloop_training_seconds{trainer}
	dice    *prometheus.GaugeVec     // voxloop_training_mean_dice{trainer}
}

func newTrainMetrics() *trainMetrics {
	m := &trainMetrics{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "voxloop_trainings_total", Help: "Trainings by trainer and result (ok, or the kind of failure; canceled: stopped or interrupted).",
		}, []string{"trainer", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "voxloop_training_seconds", Help: "Time that finished trainings took.",
			Buckets: []float64{10, 30, 60, 300, 600, 1800, 3600, 4 * 3600, 12 * 3600, 24 * 3600},
		}, []string{"trainer"}),
		dice: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "voxloop_training_mean_dice", Help: "Mean Dice of the last validation of the running or last training.",
		}, []string{"trainer"}),
	}
	m.running = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "voxloop_training_running", Help: "Trainings that run now.",
	}, func() float64 { return float64(m.now.Load()) })
	return m
}

func (m *trainMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.running, m.total, m.seconds, m.dice}
}

// ended counts a training.
func (m *trainMetrics) ended(trainer string, seconds float64, err error) {
	if err != nil {
		m.total.WithLabelValues(trainer, fault.KindOf(err).String()).Inc()
		return
	}
	m.total.WithLabelValues(trainer, "ok").Inc()
	m.seconds.WithLabelValues(trainer).Observe(seconds)
}
