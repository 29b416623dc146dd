package nrrd

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
)

// maxFiles bounds how many names a pattern may stand for.
const maxFiles = 1 << 16

// verb matches a file name with one number in it, as printf formats it.
var verb = regexp.MustCompile(`^([^%]*)%(0?)([0-9]{0,2})[diu]([^%]*)$`)

// pattern is a numbered sequence of names. They are made one by one: a line of a
// header must not take memory for tens of thousands.
type pattern struct {
	before, after string
	zeros         bool // the number is filled up with zeros, else with blanks
	width         int
	first, step   int64
	count         int
}

func isPattern(words []string) bool {
	return len(words) >= 4 && len(words) <= 5 && verb.MatchString(words[0])
}

// parsePattern reads a name that isPattern has accepted and its numbers: first,
// last and step.
func parsePattern(name string, numbers []string) (*pattern, error) {
	var n [3]int64
	for i, w := range numbers {
		v, err := strconv.ParseInt(w, 10, 32)
		if err != nil {
			return nil, raw.Malformed("the NRRD data file pattern has %.20q where a number is needed", w)
		}
		n[i] = v
	}
	first, last, step := n[0], n[1], n[2]
	if step == 0 || (last-first)/step < 0 || last != first && (last > first) != (step > 0) {
		return nil, raw.Malformed("no NRRD data file lies from %d to %d in steps of %d", first, last, step)
	}
	count := (last-first)/step + 1
	if count > maxFiles {
		return nil, raw.TooLarge("the NRRD header names %d data files; %d are allowed", count, maxFiles)
	}
	part := verb.FindStringSubmatch(name)
	width, _ := strconv.Atoi(part[3]) // at most two digits
	return &pattern{before: strings.TrimPrefix(part[1], "./"), after: part[4], zeros: part[2] != "", width: width, first: first, step: step, count: int(count)}, nil
}

// name returns name i of the sequence.
func (p *pattern) name(i int) string {
	n := p.first + int64(i)*p.step
	if p.zeros {
		return fmt.Sprintf("%s%0*d%s", p.before, p.width, n, p.after)
	}
	return fmt.Sprintf("%s%*d%s", p.before, p.width, n, p.after)
}
