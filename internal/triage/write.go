package triage

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"encoding/csv"
	"fmt"
	"html/template"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/strategies"
)

// Files of a ranking.
const (
	CSVFile  = "ranking.csv"
	JSONFile = "ranking.json"
	HTMLFile = "ranking.html"
)

// WriteTo writes the files into a folder, which is made when it is absent. Each
// appears as a whole.
func (r *Report) WriteTo(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // results are shared with the people who work on them
		return err
	}
	for _, f := range []struct {
		name  string
		write func(io.Writer) error
	}{{CSVFile, r.WriteCSV}, {JSONFile, r.WriteJSON}, {HTMLFile, r.WriteHTML}} {
		if err := atomicfile.Write(filepath.Join(dir, f.name), 0o644, f.write); err != nil {
			return err
		}
	}
	return nil
}

func passes(ob *strategies.Observation) string { return fmt.Sprintf("%d of %s", ob.Count, ob.Passes) }

// WriteCSV writes one line per image, in order.
func (r *Report) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	head := []string{"rank", "id", "file", "score", "why"}
	for _, m := range strategies.Measures() {
		head = append(head, string(m))
	}
	head = append(head, "foreground_share", "predicted_mm3", "uncertain_mm3", "axis", "slice", "regions", "flags")
	lines := [][]string{head}
	for _, row := range r.Rows {
		ob, e := row.Observation, row.Explanation
		line := []string{strconv.Itoa(row.Rank), row.Image.ID, row.Image.Files[0], number(e.Score), e.Why}
		for _, m := range strategies.Measures() {
			v, ok := ob.Scores[m]
			if !ok {
				v = math.NaN()
			}
			line = append(line, number(v))
		}
		axis, slice := "", ""
		if row.Picture != nil {
			axis, slice = string("ijk"[row.Picture.Axis]), strconv.Itoa(row.Picture.Slice)
		}
		lines = append(lines, append(line, number(ob.Foreground), number(ob.Predicted), number(ob.Uncertain), axis, slice,
			strconv.Itoa(len(ob.Regions)), strings.Join(e.Flags, "; ")))
	}
	return c.WriteAll(lines)
}

// number is empty for what is no number.
func number(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return ""
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}

// WriteJSON writes everything but the pictures.
func (r *Report) WriteJSON(w io.Writer) error {
	images := make([]*ordered.Map, 0, len(r.Rows))
	for _, row := range r.Rows {
		o := ordered.Of("rank", row.Rank, "id", row.Image.ID, "files", row.Image.Files, "explanation", row.Explanation.Map(), "observation", row.Observation)
		if p := row.Picture; p != nil {
			o.Set("slice", ordered.Of("axis", p.Axis, "index", p.Slice))
		}
		images = append(images, o)
	}
	text, err := ordered.Indent(ordered.Of(
		"model", r.Model, "version", r.Version, "strategy", r.Strategy, "passes", r.Passes, "aggregation", r.Aggregation,
		"time", r.Time.UTC().Format("2006-01-02T15:04:05Z"), "labelled", r.Labelled, "images", images, "skipped", append([]Skip{}, r.Skipped...),
	))
	if err == nil {
		_, err = w.Write(append(text, '\n'))
	}
	return err
}

//go:embed page.html.tmpl
var page string

var pageTemplate = template.Must(template.New("triage").Funcs(template.FuncMap{
	"number": number,
	"axis":   func(a int) string { return string("ijk"[a]) },
	"box": func(r strategies.Region) string {
		return fmt.Sprintf("i %d–%d, j %d–%d, k %d–%d", r.Min[0], r.Max[0], r.Min[1], r.Max[1], r.Min[2], r.Max[2])
	},
	"source": source,
	"json": func(m *ordered.Map) (string, error) {
		text, err := ordered.Marshal(m)
		return string(text), err
	},
}).Parse(page))

// source is a picture as the address of an <img>.
func source(p *Picture) (template.URL, error) {
	var b bytes.Buffer
	if err := png.Encode(&b, p.Image); err != nil {
		return "", err
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())), nil //nolint:gosec // our own picture
}

// WriteHTML writes a page that needs no other file.
func (r *Report) WriteHTML(w io.Writer) error { return pageTemplate.Execute(w, r) }
