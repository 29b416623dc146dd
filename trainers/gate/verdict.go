package gate

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Options are the rules. The zero value of a field means the default in
// brackets.
type Options struct {
	Margin     float64 // Dice that a class may lose at most [0.01]
	Level      float64 // of the one-sided tests and intervals [0.05]
	Resamples  int     // of the bootstrap [10000]
	Seed       uint64
	Cases      int     // fewest held-out cases for a verdict [5]
	FailBelow  float64 // a case with a smaller mean Dice has failed [0.1]
	HD95Factor float64 // HD95 may grow on average by this share [0.05] …
	HD95Slack  float64 // … plus these mm [0.5]
	Slower     float64 // times as long may an inference take, in the median over cases [2]
	Memory     float64 // times as much memory may one take [2]
}

func (o Options) withDefaults() Options {
	set := func(v *float64, def float64) {
		if *v == 0 {
			*v = def
		}
	}
	set(&o.Margin, 0.01)
	set(&o.Level, 0.05)
	set(&o.FailBelow, 0.1)
	set(&o.HD95Factor, 0.05)
	set(&o.HD95Slack, 0.5)
	set(&o.Slower, 2)
	set(&o.Memory, 2)
	if o.Resamples <= 0 {
		o.Resamples = 10_000
	}
	if o.Cases <= 0 {
		o.Cases = 5
	}
	return o
}

// Measure is how well one class of one case was segmented.
type Measure struct {
	Dice float64 `json:"dice"`
	// HD95 in mm; nil where one of both label maps lacks the class.
	HD95 *float64 `json:"hd95_mm,omitempty"`
}

// Case is what a model made of one held-out case.
type Case struct {
	ID           string             `json:"id"`
	LabelVersion int                `json:"label_version,omitempty"`
	LabelSum     string             `json:"label_sha256,omitempty"`
	Classes      map[string]Measure `json:"classes"` // classes that neither label map has are absent
	Error        string             `json:"error,omitempty"`
	ECE          *float64           `json:"ece,omitempty"`     // expected calibration error, where probabilities were kept
	Seconds      float64            `json:"seconds,omitempty"` // that the inference took, also one that was broken off; 0: not measured
}

// mean is the mean Dice over the classes; an error counts as 0.
func (c *Case) mean() (float64, bool) {
	if c.Error != "" {
		return 0, true
	}
	if len(c.Classes) == 0 {
		return 0, false
	}
	var sum float64
	for _, m := range c.Classes {
		sum += m.Dice
	}
	return sum / float64(len(c.Classes)), true
}

// Comparison is one quantity of both models over the cases that have it in
// both.
type Comparison struct {
	Cases     int     `json:"cases"`
	Candidate float64 `json:"candidate"` // mean
	Current   float64 `json:"current"`   // mean
	Change    float64 `json:"change"`    // mean of candidate - current, case by case
	// Low and High are the ends of the two-sided interval of Change at twice the
	// level: each end is a one-sided bound at the level.
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Check is one rule and whether it holds.
type Check struct {
	Rule string `json:"rule"`
	Pass bool   `json:"pass"`
	Text string `json:"text"` // with the numbers
}

// Verdict is a decision with all its numbers.
type Verdict struct {
	Pass    bool                  `json:"pass"`
	Reason  string                `json:"reason"` // of the first rule that does not hold, or that all hold
	Checks  []Check               `json:"checks"`
	Mean    Comparison            `json:"mean_dice"`
	Classes map[string]Comparison `json:"classes"`
	HD95    *Comparison           `json:"hd95_mm,omitempty"`
	ECE     *Comparison           `json:"ece,omitempty"`
	// One-sided p-values of "the candidate's mean Dice is larger".
	PBootstrap float64 `json:"p_bootstrap"`
	PWilcoxon  float64 `json:"p_wilcoxon"`
	Wilcoxon   float64 `json:"wilcoxon_w"`
	Failures   [2]int  `json:"failures"` // candidate, current
	// Of an inference: seconds in both, and the median over cases of how many
	// times as long the candidate takes; 0: not measured. Bytes as estimated.
	Seconds  *Comparison `json:"seconds,omitempty"`
	Slowdown float64     `json:"slowdown,omitempty"`
	Bytes    [2]int64    `json:"bytes"` // candidate, current; 0: not known
	Level    float64     `json:"level"`
	Margin   float64     `json:"margin"`
}

// Judge compares a candidate with the model in service. Both must tell of the
// same cases (matched by id; a case of one only is left out and lowers the
// count). Without a model in service pass cases of Dice 0. bytes are what an
// inference takes with the candidate and with the model in service.
func Judge(candidate, current []Case, bytes [2]int64, o Options) Verdict {
	o = o.withDefaults()
	p := match(candidate, current)
	v := Verdict{Classes: map[string]Comparison{}, Bytes: bytes, Level: o.Level, Margin: o.Margin}
	v.enough(p, o)
	v.memory(o)
	v.runs(p)
	v.time(p, o)
	v.noClassWorse(p, o)
	v.meanBetter(p, o)
	v.distances(p, o)
	v.failures(p, o)
	v.calibration(p, o)
	v.Pass = true
	v.Reason = "better: all rules hold"
	for _, c := range v.Checks {
		if !c.Pass {
			v.Pass, v.Reason = false, c.Rule+": "+c.Text
			break
		}
	}
	return v
}

// couple is one case under both models.
type couple struct{ a, b *Case }

func match(candidate, current []Case) []couple {
	byID := map[string]*Case{}
	for i := range current {
		byID[current[i].ID] = &current[i]
	}
	var out []couple
	for i := range candidate {
		if b := byID[candidate[i].ID]; b != nil {
			out = append(out, couple{&candidate[i], b})
		}
	}
	slices.SortFunc(out, func(x, y couple) int { return strings.Compare(x.a.ID, y.a.ID) })
	return out
}

func (v *Verdict) check(rule string, pass bool, format string, args ...any) {
	v.Checks = append(v.Checks, Check{Rule: rule, Pass: pass, Text: fmt.Sprintf(format, args...)})
}

func (v *Verdict) enough(p []couple, o Options) {
	v.check("enough cases", len(p) >= o.Cases, "%d held-out cases are labelled; %d are needed", len(p), o.Cases)
}

// runs refuses a candidate that has failed on every case by saying why.
func (v *Verdict) runs(p []couple) {
	for _, c := range p {
		if c.a.Error == "" {
			return
		}
	}
	if len(p) > 0 {
		v.check("the candidate runs", false, "it has failed on all %d cases: %s", len(p), p[0].a.Error)
	}
}

// compare sums up one quantity; the same seed and stream give the same
// interval.
func compare(a, b []float64, o Options, stream uint64) Comparison {
	c := Comparison{Cases: len(a)}
	if len(a) == 0 {
		return c
	}
	d := make([]float64, len(a))
	for i := range a {
		c.Candidate += a[i]
		c.Current += b[i]
		d[i] = a[i] - b[i]
		c.Change += d[i]
	}
	n := float64(len(a))
	c.Candidate, c.Current, c.Change = c.Candidate/n, c.Current/n, c.Change/n
	means := bootstrap(d, o.Resamples, o.Seed, stream)
	c.Low, c.High = quantile(means, o.Level), quantile(means, 1-o.Level)
	return c
}

// Streams of the bootstrap; classes follow streamClass in the order of names.
const (
	streamMean = iota
	streamHD95
	streamECE
	streamSeconds
	streamClass
)

// noClassWorse tests each class for non-inferiority. A class that one model
// found where the other has an error counts as 0 there.
func (v *Verdict) noClassWorse(p []couple, o Options) {
	var names []string
	for _, c := range p {
		for _, m := range []*Case{c.a, c.b} {
			for name := range m.Classes {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	for i, name := range slices.Compact(names) {
		var a, b []float64
		for _, c := range p {
			x, okA := c.a.dice(name)
			y, okB := c.b.dice(name)
			if okA && okB {
				a, b = append(a, x), append(b, y)
			}
		}
		if len(a) == 0 {
			continue
		}
		r := compare(a, b, o, streamClass+uint64(i))
		v.Classes[name] = r
		v.check("no class worse", r.Low > -o.Margin, "%s: Dice changed by %+.4f (lower bound %+.4f, allowed %+.4f) on %d cases", name, r.Change, r.Low, -o.Margin, r.Cases)
	}
}

// dice returns a class's Dice, 0 where the case has an error.
func (c *Case) dice(name string) (float64, bool) {
	if c.Error != "" {
		return 0, true
	}
	m, ok := c.Classes[name]
	return m.Dice, ok
}

func (v *Verdict) meanBetter(p []couple, o Options) {
	var a, b, d []float64
	for _, c := range p {
		x, okA := c.a.mean()
		y, okB := c.b.mean()
		if okA && okB {
			a, b, d = append(a, x), append(b, y), append(d, x-y)
		}
	}
	v.Mean, v.PBootstrap, v.PWilcoxon = compare(a, b, o, streamMean), 1, 1
	if len(d) > 0 {
		v.PBootstrap = notAbove(bootstrap(d, o.Resamples, o.Seed, streamMean))
		v.Wilcoxon, v.PWilcoxon, _ = wilcoxon(d)
	}
	v.check("mean better (bootstrap)", v.PBootstrap <= o.Level, "mean Dice changed by %+.4f (interval %+.4f to %+.4f), p = %.4f, needed ≤ %g", v.Mean.Change, v.Mean.Low, v.Mean.High, v.PBootstrap, o.Level)
	v.check("mean better (Wilcoxon)", v.PWilcoxon <= o.Level, "W = %g of %d cases, p = %.4f, needed ≤ %g", v.Wilcoxon, len(d), v.PWilcoxon, o.Level)
}

// distances compares HD95 over the cases and classes for which both models
// have one, averaged per case.
func (v *Verdict) distances(p []couple, o Options) {
	var a, b []float64
	for _, c := range p {
		var x, y float64
		n := 0
		for _, name := range sortedNames(c.a.Classes) {
			ma, mb := c.a.Classes[name], c.b.Classes[name]
			if ma.HD95 != nil && mb.HD95 != nil && !math.IsInf(*ma.HD95+*mb.HD95, 0) && !math.IsNaN(*ma.HD95+*mb.HD95) {
				x, y, n = x+*ma.HD95, y+*mb.HD95, n+1
			}
		}
		if n > 0 {
			a, b = append(a, x/float64(n)), append(b, y/float64(n))
		}
	}
	if len(a) == 0 {
		return
	}
	r := compare(a, b, o, streamHD95)
	v.HD95 = &r
	limit := o.HD95Factor*r.Current + o.HD95Slack
	v.check("HD95 not worse", r.Change <= limit, "HD95 changed by %+.2f mm to %.2f mm on %d cases, allowed %+.2f mm", r.Change, r.Candidate, r.Cases, limit)
}

func sortedNames(m map[string]Measure) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (v *Verdict) failures(p []couple, o Options) {
	for _, c := range p {
		for i, m := range []*Case{c.a, c.b} {
			if mean, ok := m.mean(); ok && mean < o.FailBelow {
				v.Failures[i]++
			}
		}
	}
	v.check("no more failures", v.Failures[0] <= v.Failures[1], "%d cases failed (mean Dice below %g), %d with the model in service", v.Failures[0], o.FailBelow, v.Failures[1])
}

// calibration is reported only.
func (v *Verdict) calibration(p []couple, o Options) {
	var a, b []float64
	for _, c := range p {
		if c.a.ECE != nil && c.b.ECE != nil {
			a, b = append(a, *c.a.ECE), append(b, *c.b.ECE)
		}
	}
	if len(a) > 0 {
		r := compare(a, b, o, streamECE)
		v.ECE = &r
	}
}
