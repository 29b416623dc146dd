package trainers

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
)

// ReadRecord reads training.json of a trained model's folder. NotFound: there is
// none.
func ReadRecord(dir string) (Record, error) {
	var r Record
	data, err := os.ReadFile(filepath.Join(dir, recordFile)) //nolint:gosec // the caller names the folder
	if errors.Is(err, fs.ErrNotExist) {
		return r, fault.Wrap(fault.NotFound, err, "the folder has no %s: no model was trained into it", recordFile)
	}
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err == nil && r.Format != recordFormat {
		err = fault.New(fault.Invalid, "format %d", r.Format)
	}
	return r, fault.Wrap(fault.Invalid, err, "%s cannot be read", recordFile)
}

// CrossValidation is what the models of all folds found in the cases that they
// were not trained on.
type CrossValidation struct {
	Folds   []FoldResult         `json:"folds"`
	Classes map[string]Statistic `json:"classes"`   // over all cases that have the class
	Mean    float64              `json:"mean_dice"` // of the classes' means
	Cases   int                  `json:"cases"`
}

// FoldResult is one fold's.
type FoldResult struct {
	Fold  int                `json:"fold"`
	Model string             `json:"model"` // folder
	Mean  float64            `json:"mean_dice"`
	Dice  map[string]float64 `json:"dice"`
	Cases []Score            `json:"cases"`
	Steps int                `json:"steps"`
}

// Statistic describes the Dice values of a class.
type Statistic struct {
	Cases  int     `json:"cases"`
	Mean   float64 `json:"mean"`
	SD     float64 `json:"sd"` // over n - 1; 0 for one case
	Median float64 `json:"median"`
	Least  float64 `json:"least"`
}

// FoldOf is the result of a fold from its model's record.
func FoldOf(fold int, dir string, r Record) FoldResult {
	return FoldResult{Fold: fold, Model: dir, Mean: r.Mean, Dice: r.Dice, Cases: r.Validation, Steps: r.Steps}
}

// CrossValidated puts the folds together: every case counts once, whatever the
// folds' sizes.
func CrossValidated(folds []FoldResult) CrossValidation {
	v := CrossValidation{Folds: folds, Classes: map[string]Statistic{}}
	values := map[string][]float64{}
	var all []Score
	for _, f := range folds {
		all = append(all, f.Cases...)
	}
	for _, s := range all {
		for class, d := range s.Dice {
			values[class] = append(values[class], d)
		}
	}
	for _, class := range slices.Sorted(maps.Keys(values)) {
		v.Classes[class] = statisticOf(values[class])
	}
	_, v.Mean = meanDice(all)
	v.Cases = len(all)
	return v
}

// statisticOf describes at least one value; it sorts them.
func statisticOf(v []float64) Statistic {
	slices.Sort(v)
	n := float64(len(v))
	s := Statistic{Cases: len(v), Least: v[0], Median: (v[(len(v)-1)/2] + v[len(v)/2]) / 2}
	for _, d := range v {
		s.Mean += d / n
	}
	for _, d := range v {
		s.SD += (d - s.Mean) * (d - s.Mean)
	}
	s.SD = math.Sqrt(s.SD / max(n-1, 1))
	return s
}
