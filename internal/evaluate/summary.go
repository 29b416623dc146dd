package evaluate

import (
	"context"
	"encoding/json"
	"io"
	"math"

	"github.com/voxloop/voxloop/internal/imaging/parallel"
)

// Summary is the content of summary.json.
type Summary struct {
	Settings Settings       `json:"settings"`
	Cases    int            `json:"cases"` // evaluated
	Skipped  []Skip         `json:"skipped"`
	Classes  []ClassSummary `json:"classes"`

	// MeanDice is over the cases' mean Dice, GeneralisedDice over the cases'
	// generalised Dice of all foreground classes.
	MeanDice        Statistics          `json:"mean_dice"`
	GeneralisedDice Statistics          `json:"generalised_dice"`
	Calibration     *CalibrationSummary `json:"calibration,omitempty"` // with probabilities
	Worst           []CaseScore         `json:"worst_first"`           // all cases
}

// Settings are the choices behind the numbers.
type Settings struct {
	Empty        string  `json:"empty"`
	Tolerance    float64 `json:"nsd_tolerance_mm"`
	Surface      string  `json:"nsd_surface"` // voxels or area
	Overlap      float64 `json:"lesion_overlap"`
	Connectivity int     `json:"lesion_connectivity"`
	Weight       string  `json:"generalised_dice_weight"`
	Bins         int     `json:"calibration_bins"`
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

	GeneralisedDice float64 `json:"generalised_dice"`
}

// Summary sums the table up. Errors: the context's.
func (r *Result) Summary(ctx context.Context) (Summary, error) {
	o := r.Options
	b := o.bootstrap()
	s := Summary{
		Settings: Settings{
			Empty: o.Empty.String(), Tolerance: o.Tolerance, Surface: o.surface(), Overlap: o.Overlap, Connectivity: int(o.Connectivity),
			Weight: o.Weight.String(), Bins: o.Bins, Resamples: o.Resamples, Seed: o.Seed,
		},
		Cases: len(r.Cases), Skipped: append([]Skip{}, r.Skipped...), Classes: make([]ClassSummary, len(r.Classes)), Worst: []CaseScore{},
	}
	err := parallel.For(ctx, len(r.Classes), func(ctx context.Context, from, to int) (err error) {
		for i := from; i < to && err == nil; i++ {
			s.Classes[i], err = r.class(ctx, i, r.Classes[i])
		}
		return err
	})
	if err != nil {
		return s, err
	}
	var dice, generalised []float64
	for _, c := range r.Cases {
		dice, generalised = append(dice, c.Dice), append(generalised, c.GeneralisedDice)
	}
	if s.MeanDice, err = b.describe(ctx, dice, 0); err != nil {
		return s, err
	}
	if s.GeneralisedDice, err = b.describe(ctx, generalised, 1); err != nil {
		return s, err
	}
	if s.Calibration, err = r.calibration(ctx, b); err != nil {
		return s, err
	}
	for _, c := range r.WorstFirst() {
		s.Worst = append(s.Worst, CaseScore{c.Name, known(c.Dice), c.Wrong, c.GeneralisedDice})
	}
	return s, nil
}

// surface names what NSD counts.
func (o Options) surface() string {
	if o.Area {
		return "area"
	}
	return "voxels"
}

// class sums up class i of every case.
func (r *Result) class(ctx context.Context, i int, c Class) (ClassSummary, error) {
	s := ClassSummary{Label: c.Label, Name: c.Name, Metrics: make(map[string]Statistics)}
	for m, col := range columns {
		var v []float64
		for j := i; j < len(r.Rows); j += len(r.Classes) {
			v = append(v, r.Rows[j].Values[m])
		}
		if col.summary {
			d, err := r.Options.bootstrap().describe(ctx, v, uint64(c.Label)<<8|uint64(m))
			if err != nil {
				return s, err
			}
			s.Metrics[col.key] = d
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
	return s, nil
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
