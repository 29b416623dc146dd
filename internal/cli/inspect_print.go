package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// percentName is a percentile's key: "1", "99".
func percentName(p float64) string { return strconv.FormatFloat(p, 'g', -1, 64) }

// maxPrinted bounds how many extensions, channels, labels or problems the text
// shows; JSON has them all.
const maxPrinted = 40

// page collects lines of text.
type page struct{ strings.Builder }

func (p *page) row(name, format string, args ...any) {
	text := printable(fmt.Sprintf(format, args...))
	fmt.Fprintln(p, strings.TrimRight(fmt.Sprintf("  %-12s %s", name, text), " "))
}

// printable shows the control characters of a file's name and of its own text as
// what they are: a terminal would obey them.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return '·'
		}
		return r
	}, s)
}

// print writes the report as text, with an empty line in front when gap.
func (r *inspection) print(w io.Writer, gap bool) error {
	var p page
	if gap {
		fmt.Fprintln(&p)
	}
	fmt.Fprintf(&p, "%s: %s\n", printable(r.File), r.Format)
	p.row("size", "%d × %d × %d voxels, channels: %d", r.Size[0], r.Size[1], r.Size[2], r.Channels)
	for _, a := range r.Axes {
		p.row("axis", "%s: %d entries, step %g", orDash(a.Kind), a.Size, float64(a.Step))
	}
	p.row("type", "%s, slope %g, intercept %g", r.Type, r.Slope, r.Intercept)
	p.row("spacing", "%.6g × %.6g × %.6g mm (%.5g × %.5g × %.5g mm)",
		r.Spacing[0], r.Spacing[1], r.Spacing[2], float64(r.Extent[0]), float64(r.Extent[1]), float64(r.Extent[2]))
	p.row("orientation", "%s", r.Orientation)
	p.row("origin", "%.6g, %.6g, %.6g", r.Origin[0], r.Origin[1], r.Origin[2])
	for i, row := range r.Affine[:3] {
		p.row([]string{"affine", "", ""}[i], "%12.6g %12.6g %12.6g %12.6g", row[0], row[1], row[2], row[3])
	}
	r.printFormat(&p)
	r.printValues(&p)
	for i, text := range r.Problems {
		if i == maxPrinted {
			p.row("", "… and %d further problems; see --json", len(r.Problems)-i)
			break
		}
		p.row("problem", "%s", text)
	}
	if len(r.Problems) == 0 {
		p.row("problems", "none found")
	}
	_, err := io.WriteString(w, p.String())
	return err
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (r *inspection) printFormat(p *page) {
	if n := r.NIfTI; n != nil {
		p.row("header", "sform code %d, qform code %d, units %s, %s, big-endian: %v", n.Sform, n.Qform, n.SpaceUnit, n.TimeUnit, n.BigEndian)
		if n.Description != "" {
			p.row("description", "%s", n.Description)
		}
		if n.IntentCode != 0 || n.IntentName != "" {
			p.row("intent", "%d %s", n.IntentCode, n.IntentName)
		}
		for i, e := range n.Extensions {
			if i == maxPrinted {
				p.row("", "… and %d further extensions; see --json", len(n.Extensions)-i)
				break
			}
			p.row("extension", "code %d, %d bytes", e.Code, e.Bytes)
		}
	}
	if n := r.NRRD; n != nil {
		p.row("header", "space %s, encoding %s, big-endian: %v, data files: %d", orDash(n.Space), n.Encoding, n.BigEndian, n.DataFiles)
		if len(n.Pairs) > 0 {
			p.row("pairs", "%d key:=value lines", len(n.Pairs))
		}
	}
}

func (r *inspection) printValues(p *page) {
	for c, s := range r.Statistics {
		if c == maxPrinted {
			p.row("", "… and %d further channels; see --json", len(r.Statistics)-c)
			break
		}
		p.row(fmt.Sprintf("channel %d", c), "min %.6g, max %.6g, mean %.6g, std %.6g, NaN %d, infinite %d",
			float64(s.Min), float64(s.Max), float64(s.Mean), float64(s.Std), s.NaN, s.Inf)
		if len(s.Percentiles) > 0 {
			var parts []string
			for _, q := range percentiles {
				parts = append(parts, fmt.Sprintf("%s%%: %.6g", percentName(q), s.Percentiles[percentName(q)]))
			}
			p.row("", "%s", strings.Join(parts, ", "))
		}
		for i, l := range s.Labels {
			if i == maxPrinted {
				p.row("", "… and %d further values; see --json", len(s.Labels)-i)
				break
			}
			p.row("  label", "%6g %10d voxels %12.3f ml  %s", l.Value, l.Voxels, float64(l.ML), l.Name)
		}
	}
}
