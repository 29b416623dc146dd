package native

import (
	"encoding/json"
	"math"
	"slices"
	"testing"
)

// TestReferenceOptimizers: every case of golden/numerics/optimizers at its
// tolerance.
func TestReferenceOptimizers(t *testing.T) {
	checks := map[string]func(t *testing.T, c numericCase) float64{
		"clip_grad_norm_":                               checkClipped,
		"clip_grad_value_":                              checkClipped,
		"EMA of weights (own definition)":               checkAverage,
		"torch AveragedModel with get_ema_multi_avg_fn": checkAverage,
		"torch.amp.GradScaler + SGD":                    checkScaler,
		"ReduceLROnPlateau":                             checkPlateau,
	}
	for operation := range referenceOptimizers {
		checks[operation] = checkOptimizer
	}
	for operation := range referenceSchedules {
		checks[operation] = checkSchedule
	}
	checkNumerics(t, "optimizers", 47, checks)
}

var referenceOptimizers = map[string]string{
	"torch.optim.AdamW": "adamw", "torch.optim.Adam": "adam", "torch.optim.SGD": "sgd",
	"torch.optim.RMSprop": "rmsprop", "torch.optim.RAdam": "radam", "torch.optim.NAdam": "nadam",
	"AdamW + clip_grad_norm_(1.0) + PolynomialLR(30, 0.9)": "adamw",
}

func checkOptimizer(t *testing.T, c numericCase) float64 {
	var p struct {
		settings
		MaxNorm float64 `json:"max_norm"`
		Power   float64
		Total   int `json:"total_iters"`
	}
	c.read(t, c.Parameters, &p)
	var rate Schedule = Constant(p.LR)
	used := 0.0
	if raw := c.Expected["learning_rates"]; raw != nil {
		rate = Poly{Base: p.LR, Steps: p.Total, Power: p.Power}
		used = c.compare(rates(rate, 30), c.numbers(t, raw))
	}
	o := Options{Optimizer: p.optimizer(referenceOptimizers[c.Operation]), ClipNorm: p.MaxNorm}
	path := descend(t, o, rate.Rate, c.array(t, c.Inputs["parameters"]).F32(t), rows(t, c.array(t, c.Inputs["gradients"])))
	return max(used, c.compare(wide(slices.Concat(path...)), c.numbers(t, c.Expected["parameters_after_each_step"])))
}

func rates(s Schedule, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = s.Rate(i)
	}
	return out
}

// checkClipped reads the clipped gradient off a step of plain SGD from 0.
func checkClipped(t *testing.T, c numericCase) float64 {
	var p struct {
		Norm  float64         `json:"max_norm"`
		Kind  json.RawMessage `json:"norm_type"`
		Value float64         `json:"clip_value"`
	}
	c.read(t, c.Parameters, &p)
	o := Options{Optimizer: SGD{}, ClipNorm: p.Norm, ClipValue: p.Value, ClipKind: map[string]Norm{`1.0`: L1, `"Inf"`: LMax}[string(p.Kind)]}
	var clipped, norms []float64
	for _, row := range rows(t, c.array(t, c.Inputs["gradients"])) {
		d := newDescent(t, o, make([]float32, len(row)))
		norms = append(norms, d.next(t, row, Pace{Rate: -1}))
		clipped = append(clipped, wide(d.parameters())...)
	}
	used := c.compare(clipped, c.numbers(t, c.Expected["clipped"]))
	if c.Expected["norms"] != nil && o.ClipKind == L2 {
		used = max(used, c.compare(norms, c.numbers(t, c.Expected["norms"])))
	}
	return used
}

func checkAverage(t *testing.T, c numericCase) float64 {
	var p struct {
		Decay  float64
		WarmUp string
	}
	c.read(t, c.Parameters, &p)
	path := rows(t, c.array(t, c.Inputs["trajectory"]))
	a := Averaging{Decay: p.Decay, WarmUp: p.WarmUp != "" && p.WarmUp != "none", CopyFirst: c.Inputs["parameters"] == nil}
	average := make([]float32, len(path[0]))
	if !a.CopyFirst {
		copy(average, c.array(t, c.Inputs["parameters"]).F32(t))
	}
	var got, decays []float64
	for i, row := range path {
		a.follow(average, row, i+1)
		got, decays = append(got, wide(average)...), append(decays, a.decay(i+1))
	}
	used := c.compare(got, c.numbers(t, c.Expected["ema_after_each_step"]))
	if raw := c.Expected["decays"]; raw != nil {
		used = max(used, c.compare(decays, c.numbers(t, raw)))
	}
	return used
}

// checkScaler feeds scaled gradients, of which some overflowed, and compares
// scale, count and parameters after every step.
func checkScaler(t *testing.T, c numericCase) float64 {
	var p struct {
		Initial  float64 `json:"init_scale"`
		Growth   float64 `json:"growth_factor"`
		Backoff  float64 `json:"backoff_factor"`
		Interval int     `json:"growth_interval"`
		LR       float64
	}
	c.read(t, c.Parameters, &p)
	var table struct {
		Value []struct {
			Before  float64 `json:"scale_before"`
			After   float64 `json:"scale_after"`
			Bad     string  `json:"bad_gradient"`
			Skipped bool
			Count   int `json:"growth_tracker"`
		}
	}
	c.read(t, c.Expected["table"], &table)
	bad := map[string]float64{"inf": math.Inf(1), "-inf": math.Inf(-1), "nan": math.NaN()}
	scaling := Scaling{Initial: p.Initial, Growth: p.Growth, Backoff: p.Backoff, Interval: p.Interval}
	d := newDescent(t, Options{Optimizer: SGD{}, Scaling: scaling}, c.array(t, c.Inputs["parameters"]).F32(t))
	s := scaler{scale: float32(p.Initial)}
	var path, got, want []float64
	for i, row := range rows(t, c.array(t, c.Inputs["gradients"]))[:len(table.Value)] {
		w := table.Value[i]
		for k := range row {
			row[k] *= s.scale
		}
		if w.Bad != "" {
			row[i%len(row)] = float32(bad[w.Bad])
		}
		got, want = append(got, float64(s.scale)), append(want, w.Before)
		d.scale = s.scale
		sound := finite(d.next(t, row, Pace{Rate: p.LR}))
		s.update(scaling, sound)
		if sound == w.Skipped {
			t.Errorf("step %d: skipped is %v", i, !sound)
		}
		got, want = append(got, float64(s.scale), float64(s.good)), append(want, w.After, float64(w.Count))
		path = append(path, wide(d.parameters())...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("scales and counts %v instead of %v", got, want)
	}
	return c.compare(path, c.numbers(t, c.Expected["parameters_after_each_step"]))
}
