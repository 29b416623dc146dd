package evaluate

import (
	"encoding/json"
	"io"
	"math"
)

// Summary is the content of summary.json.
type Summary struct {
	Settings Settings       `json:"settings"`
	Cases    int            `json:"cases"` // evaluated
	Skipped  []Skip         `json:"skipped"`
	Classes  []ClassSummary `json:"classes"`

	// MeanDice is over the cases' mean Dice.
	MeanDice Statistics  `json:"mean_dice"`
	Worst    []CaseScore `json:"worst_first"` // all cases
}

// Settings are the choices behind the numbers.
type Settings struct {
	Empty        string  `json:"empty"`
	Tolerance    float64 `json:"nsd_tolerance_mm"`
	Overlap      float64 `json:"lesion_overlap"`
	Connectivity int     `json:"lesion_connectivity"`
	Resamples    int     `json:"bootstrap_resamples"`
	Seed         uint64  `json:"bootstrap_seed"`
}

// ClassSummary sums up one class over the cohort.
type ClassSummary struct {
	Label   uint16                `json:"label"`
	Name    string                `json:"name,omitempty"`
	Metrics map[string]Statistics `json:"metrics"`
	Lesions LesionSums            `json:"lesions"`
}

// LesionSums counts the lesions of all cases together.
type LesionSums struct {
	True        int      `json:"truth"`
	Predicted   int      `json:"pred"`
	TP          int      `json:"tp"`
	FP          int      `json:"fp"`
	FN          int      `json:"fn"`
	Sensitivity *float64 `json:"sensitivity,omitempty"`
	Precision   *float64 `json:"precision,omitempty"`
}

// CaseScore is one case of the list of the worst.
type CaseScore struct {
	Case  string   `json:"case"`
	Dice  *float64 `json:"mean_dice,omitempty"`
	Wrong int      `json:"wrong_voxels"`
}

// Summary sums the table up.
func (r *Result) Summary() Summary {
	o := r.Options
	s := Summary{
		Settings: Settings{o.Empty.String(), o.Tolerance, o.Overlap, int(o.Connectivity), o.Resamples, o.Seed},
		Cases:    len(r.Cases), Skipped: append([]Skip{}, r.Skipped...), Classes: []ClassSummary{}, Worst: []CaseScore{},
	}
	for i, c := range r.Classes {
		s.Classes = append(s.Classes, r.class(i, c))
	}
	var dice []float64
	for _, c := range r.Cases {
		dice = append(dice, c.Dice)
	}
	s.MeanDice = describe(dice, o.Resamples, o.Seed, 0)
	for _, c := range r.WorstFirst() {
		s.Worst = append(s.Worst, CaseScore{c.Name, known(c.Dice), c.Wrong})
	}
	return s
}

// class sums up class i of every case.
func (r *Result) class(i int, c Class) ClassSummary {
	s := ClassSummary{Label: c.Label, Name: c.Name, Metrics: make(map[string]Statistics)}
	for m, col := range columns {
		var v []float64
		for j := i; j < len(r.Rows); j += len(r.Classes) {
			v = append(v, r.Rows[j].Values[m])
		}
		if col.summary {
			s.Metrics[col.key] = describe(v, r.Options.Resamples, r.Options.Seed, uint64(c.Label)<<8|uint64(m))
		}
	}
	sum := func(m Metric) int {
		n := 0
		for j := i; j < len(r.Rows); j += len(r.Classes) {
			n += int(r.Rows[j].Values[m])
		}
		return n
	}
	l := LesionSums{True: sum(TrueLesions), Predicted: sum(PredictedLesions), TP: sum(LesionTP), FP: sum(LesionFP), FN: sum(LesionFN)}
	if l.True > 0 {
		l.Sensitivity = known(float64(l.TP) / float64(l.True))
	}
	if l.Predicted > 0 {
		l.Precision = known(float64(l.Predicted-l.FP) / float64(l.Predicted))
	}
	s.Lesions = l
	return s
}

// known returns a number that JSON can hold, nil for others.
func known(f float64) *float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return &f
}

// WriteJSON writes the summary as indented JSON.
func (s Summary) WriteJSON(w io.Writer) error { return writeJSON(w, s) }

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
