package trainers

import (
	"cmp"
	"crypto/sha256"
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
)

// splitWord keeps the order of subjects in a split apart from other hashes of
// the same names (the publish gate's hold-out).
const splitWord = "split\x00"

// subject is whose images a case holds.
func (c Case) subject() string { return cmp.Or(c.Subject, c.ID) }

// subjectsInOrder returns the subjects of cases in the order of their SHA-256:
// one that looks random but is the same in every run, whatever the order of the
// cases.
func subjectsInOrder(cases []Case) []string {
	hashes := make(map[string][sha256.Size]byte)
	var subjects []string
	for _, c := range cases {
		s := c.subject()
		if _, ok := hashes[s]; !ok {
			hashes[s] = sha256.Sum256([]byte(splitWord + s))
			subjects = append(subjects, s)
		}
	}
	slices.SortFunc(subjects, func(a, b string) int {
		ha, hb := hashes[a], hashes[b]
		return cmp.Or(slices.Compare(ha[:], hb[:]), cmp.Compare(a, b))
	})
	return subjects
}

// HoldOut returns the cases with their roles: of n subjects, round(share·n)
// validate, but at least one where there are two subjects and share is above 0,
// and never all. Which ones is a function of the set of subjects alone.
func HoldOut(cases []Case, share float64) ([]Case, error) {
	if share >= 1 || share != share {
		return nil, fault.New(fault.Invalid, "a share of %g of the subjects for validation leaves nothing to train on", share)
	}
	subjects := subjectsInOrder(cases)
	n := 0
	if share > 0 {
		n = min(max(int(share*float64(len(subjects))+0.5), 1), len(subjects)-1)
	}
	return validating(cases, subjects[:max(n, 0)]), nil
}

// Fold returns the cases with their roles in cross-validation: the subjects of
// fold number fold, from 0, validate. The folds hold equally many subjects, up
// to one. There must be as many subjects as folds (Invalid).
func Fold(cases []Case, fold, folds int) ([]Case, error) {
	subjects := subjectsInOrder(cases)
	switch {
	case folds < 2 || fold < 0 || fold >= folds:
		return nil, fault.New(fault.Invalid, "fold %d of %d: folds count from 0, and there must be at least 2", fold, folds)
	case len(subjects) < folds:
		return nil, fault.New(fault.Invalid, "%d folds need as many labelled subjects; there are %d", folds, len(subjects))
	}
	var chosen []string
	for i := fold; i < len(subjects); i += folds {
		chosen = append(chosen, subjects[i])
	}
	return validating(cases, chosen), nil
}

// validating gives the cases of the chosen subjects the role Validate and all
// others Train.
func validating(cases []Case, subjects []string) []Case {
	chosen := make(map[string]bool, len(subjects))
	for _, s := range subjects {
		chosen[s] = true
	}
	out := slices.Clone(cases)
	for i := range out {
		out[i].Role = Train
		if chosen[out[i].subject()] {
			out[i].Role = Validate
		}
	}
	return out
}

// Split returns the cases with the roles that a configuration gives them: with
// Folds, Fold validates, else ValSplit of the subjects (negative: none).
func Split(cases []Case, c Config) ([]Case, error) {
	if len(cases) == 0 {
		return nil, fault.New(fault.Invalid, "there are no labelled images to train on")
	}
	if c.Folds > 0 {
		return Fold(cases, c.Fold, c.Folds)
	}
	return HoldOut(cases, cmp.Or(c.ValSplit, defaultValSplit))
}
