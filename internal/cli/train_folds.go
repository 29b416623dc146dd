package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/voxloop/voxloop/trainers"
)

// folds is how many folds there are; below 2: none.
func (j *trainJob) folds() int {
	if j.splits != nil {
		return j.splits.Folds()
	}
	return j.config.Folds
}

// roles returns the cases with their roles.
func (j *trainJob) roles(c trainers.Config) ([]trainers.Case, error) {
	if j.splits == nil {
		return trainers.Split(j.cases, c)
	}
	cases, left, err := j.splits.Roles(j.cases, c.Fold)
	if len(left) > 0 {
		j.show.note(fmt.Sprintf("%d labelled images that the file with splits does not name are left out: %s", len(left), shortList(left)))
	}
	return cases, err
}

// shortList names the first few.
func shortList(names []string) string {
	const most = 5
	if len(names) > most {
		return strings.Join(names[:most], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}

// trainFolds trains the models of n folds into OUT/fold0, OUT/fold1, … and puts
// them together as OUT/ensemble. Those that an earlier run of the same command
// has made are not made again.
func (j *trainJob) trainFolds(ctx context.Context, n int) (trainers.CrossValidation, error) {
	var results []trainers.FoldResult
	for k := range n {
		c := j.config
		c.Fold = k
		out := filepath.Join(j.f.out, fmt.Sprintf("fold%d", k))
		j.show.fold(k, n)
		res, err := j.train(ctx, c, out, filepath.Join(j.f.workDir(j.f.out), fmt.Sprintf("fold%d", k)))
		if err != nil {
			return trainers.CrossValidation{}, fmt.Errorf("fold %d: %w", k, err)
		}
		rec, err := trainers.ReadRecord(res.Model)
		if err != nil {
			return trainers.CrossValidation{}, fmt.Errorf("fold %d: %w", k, err)
		}
		results = append(results, trainers.FoldOf(k, res.Model, rec))
		if err := j.show.done(res); err != nil {
			return trainers.CrossValidation{}, err
		}
	}
	v := trainers.CrossValidated(results)
	if err := j.show.crossValidated(v); err != nil {
		return v, err
	}
	var folds []string
	for _, r := range results {
		folds = append(folds, r.Model)
	}
	ensemble := filepath.Join(j.f.out, "ensemble")
	if err := writeEnsemble(ensemble, folds); err != nil {
		return v, fmt.Errorf("the ensemble of the folds: %w", err)
	}
	j.show.note(fmt.Sprintf("%s: the ensemble of the %d folds", ensemble, len(folds)))
	return v, nil
}
