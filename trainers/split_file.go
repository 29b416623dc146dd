package trainers

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
)

// maxSplitFile bounds a file with splits: a million ids have room.
const maxSplitFile = 64 << 20

// Splits are folds that a file lays down.
type Splits struct {
	folds    []foldNames
	onlyVals bool // the file names the cases for validation; the others train
}

type foldNames struct {
	Train []string `json:"train"`
	Val   []string `json:"val"`
}

// ParseSplits reads a file with splits: a JSON list of objects with the ids of
// train and val, one per fold (nnU-Net's splits_final.json), a JSON list of
// the ids that validate, or these as lines of text (empty lines and those after
// # are left out). Errors are Invalid.
func ParseSplits(data []byte) (Splits, error) {
	var s Splits
	if len(data) > maxSplitFile {
		return s, fault.New(fault.TooLarge, "the file with splits has more than %d bytes", maxSplitFile)
	}
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	switch {
	case len(data) == 0:
		return s, fault.New(fault.Invalid, "the file with splits is empty")
	case data[0] == '[' || data[0] == '{':
		return parseJSONSplits(data)
	}
	s.onlyVals = true
	var f foldNames
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			f.Val = append(f.Val, line)
		}
	}
	s.folds = []foldNames{f}
	return s, s.check()
}

func parseJSONSplits(data []byte) (s Splits, err error) {
	var ids []string
	if json.Unmarshal(data, &ids) == nil {
		s.onlyVals, s.folds = true, []foldNames{{Val: ids}}
		return s, s.check()
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&s.folds); err != nil || d.More() {
		return s, fault.Wrap(fault.Invalid, errOrMore(err), `the file with splits is neither a list of ids nor of folds, [{"train": […], "val": […]}, …]`)
	}
	return s, s.check()
}

func errOrMore(err error) error {
	if err != nil {
		return err
	}
	return fault.New(fault.Invalid, "there is more after the list")
}

func (s Splits) check() error {
	for i, f := range s.folds {
		side := make(map[string]string)
		for _, part := range []struct {
			name string
			ids  []string
		}{{"train", f.Train}, {"val", f.Val}} {
			for _, id := range part.ids {
				if other, ok := side[id]; ok {
					return fault.New(fault.Invalid, "the file with splits: fold %d has %q in %s and again in %s", i, id, other, part.name)
				}
				side[id] = part.name
			}
		}
		if len(f.Val) == 0 || !s.onlyVals && len(f.Train) == 0 {
			return fault.New(fault.Invalid, "the file with splits: fold %d has no ids to train on or none to validate", i)
		}
	}
	if len(s.folds) == 0 {
		return fault.New(fault.Invalid, "the file with splits holds no fold")
	}
	return nil
}

// Folds is the number of folds.
func (s Splits) Folds() int { return len(s.folds) }

// Roles returns the cases of one fold, from 0, with their roles; cases that the
// fold does not name are left out and listed. Invalid: a fold that is not
// there, an id without a case, a subject on both sides.
func (s Splits) Roles(cases []Case, fold int) (out []Case, leftOut []string, err error) {
	if fold < 0 || fold >= len(s.folds) {
		return nil, nil, fault.New(fault.Invalid, "there is no fold %d: the file with splits has %d, from 0", fold, len(s.folds))
	}
	roles := make(map[string]Role)
	for _, id := range s.folds[fold].Train {
		roles[id] = Train
	}
	for _, id := range s.folds[fold].Val {
		roles[id] = Validate
	}
	bySubject := make(map[string]Role)
	for _, c := range cases {
		role, ok := roles[c.ID]
		switch {
		case ok:
			delete(roles, c.ID)
		case s.onlyVals:
			role = Train
		default:
			leftOut = append(leftOut, c.ID)
			continue
		}
		if r, ok := bySubject[c.subject()]; ok && r != role {
			return nil, nil, fault.New(fault.Invalid, "the file with splits puts images of subject %s on both sides", c.subject())
		}
		bySubject[c.subject()] = role
		c.Role = role
		out = append(out, c)
	}
	return out, leftOut, s.unmet(fold, roles)
}

// unmet reports the first id of a fold that no case has.
func (s Splits) unmet(fold int, roles map[string]Role) error {
	f := s.folds[fold]
	for _, ids := range [][]string{f.Train, f.Val} {
		for _, id := range ids {
			if _, ok := roles[id]; ok {
				return fault.New(fault.Invalid, "the file with splits names %q, which is no labelled image (%d ids in all)", id, len(roles))
			}
		}
	}
	return nil
}
