package gate

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
)

// HoldOut says which subjects are kept for judging models. Membership is a
// function of the subject alone: it does not change when cases come and go.
type HoldOut struct {
	Share float64 // of the subjects, in (0, 1)
	Salt  string  // another salt is another choice; fixed once per studies folder
}

// Holds reports whether a subject is held out: the first 53 bits of SHA-256
// over salt and subject, as a number in [0, 1), lie below the share.
func (h HoldOut) Holds(subject string) bool { return h.place(subject) < h.Share }

// place is uniform in [0, 1) over subjects.
func (h HoldOut) place(subject string) float64 {
	sum := sha256.Sum256([]byte(h.Salt + "\x00" + subject))
	return float64(binary.BigEndian.Uint64(sum[:8])>>11) / (1 << 53)
}

// Known is what has been decided about subjects before.
type Known struct {
	Held    []string // held out earlier: they stay
	Trained []string // a training has seen them: they cannot fill up a small hold-out
}

// Fill returns the subjects that are held out: those known, those that Holds
// names, and, while fewer than least of the present ones are, the next in the
// order of their hashes that no training has seen. Filling up stops at half of
// all subjects. What is returned must be kept and passed as Known.Held the next
// time: nothing that was held out is ever trained on. The result is sorted.
func (h HoldOut) Fill(subjects []string, least int, k Known) []string {
	all := slices.Clone(subjects)
	slices.Sort(all)
	all = slices.Compact(all)
	held, trained := set(k.Held), set(k.Trained)
	n := 0
	for _, s := range all {
		held[s] = held[s] || h.Holds(s)
		if held[s] {
			n++
		}
	}
	slices.SortStableFunc(all, func(a, b string) int { return cmp.Compare(h.place(a), h.place(b)) })
	for _, s := range all {
		if n >= min(least, len(all)/2) {
			break
		}
		if !held[s] && !trained[s] {
			held[s] = true
			n++
		}
	}
	maps.DeleteFunc(held, func(_ string, in bool) bool { return !in })
	return slices.Sorted(maps.Keys(held))
}

func set(names []string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}
