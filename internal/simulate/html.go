package simulate

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
)

//go:embed report.html.tmpl
var page string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"dice":   func(v float64) string { return fmt.Sprintf("%.4f", v) },
	"signed": func(v float64) string { return fmt.Sprintf("%+.4f", v) },
	"share":  func(v float64) string { return fmt.Sprintf("%.2f", v) },
	"between": func(i Interval) string {
		if i.Values < 2 {
			return "one seed"
		}
		return fmt.Sprintf("%.4f to %.4f", i.Low, i.High)
	},
	"differences": func(i Interval) string {
		if i.Values < 2 {
			return "one seed"
		}
		return fmt.Sprintf("%+.4f to %+.4f", i.Low, i.High)
	},
}).Parse(page))

func writeHTML(w io.Writer, o Options, rounds []Round, a Analysis) error {
	return pageTemplate.Execute(w, struct {
		Options  Options
		Analysis Analysis
		Rounds   []Round
		Plot     plot
	}{o, a, rounds, plotOf(a)})
}

// plot is a line chart in the coordinates of an SVG.
type plot struct {
	Width, Height float64
	Left, Bottom  float64 // of the axes
	Lines         []line
	XTicks        []tick
	YTicks        []tick
}

type line struct {
	Name   string
	Color  string
	Points string // x,y x,y …
	Bars   []bar
	Y      float64 // of its entry in the legend
}

type bar struct{ X, Low, High float64 }

type tick struct {
	At   float64
	Text string
}

// Colours that people with colour blindness can tell apart (Okabe and Ito).
var colours = []string{"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999"}

func plotOf(a Analysis) plot {
	const width, height, left, right, top, bottom = 760, 420, 60, 150, 15, 45
	p := plot{Width: width, Height: height, Left: left, Bottom: height - bottom}
	if len(a.Curves) == 0 {
		return p
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, c := range a.Curves {
		for _, q := range c.Points {
			low, high = min(low, q.Dice.Low), max(high, q.Dice.High)
		}
	}
	low, high = max(low, 0), min(high, 1)
	step := tickStep(high - low)
	low, high = math.Floor(low/step)*step, math.Ceil(high/step)*step
	if high <= low {
		high = low + step
	}
	points := a.Curves[0].Points
	first, last := float64(points[0].Labelled), float64(points[len(points)-1].Labelled)
	x := func(n float64) float64 { return left + (n-first)/max(last-first, 1)*(width-left-right) }
	y := func(d float64) float64 { return height - bottom - (d-low)/(high-low)*(height-bottom-top) }
	for d := low; d <= high+step/2; d += step {
		p.YTicks = append(p.YTicks, tick{y(d), fmt.Sprintf("%.3g", d)})
	}
	for _, q := range points {
		p.XTicks = append(p.XTicks, tick{x(float64(q.Labelled)), fmt.Sprint(q.Labelled)})
	}
	for i, c := range a.Curves {
		l := line{Name: c.Strategy, Color: colours[i%len(colours)], Y: top + 12 + 20*float64(i)}
		shift := 3 * (float64(i) - float64(len(a.Curves)-1)/2) // so that intervals do not hide each other
		var text strings.Builder
		for _, q := range c.Points {
			at := x(float64(q.Labelled)) + shift
			fmt.Fprintf(&text, "%.1f,%.1f ", at, y(q.Dice.Mean))
			if q.Dice.Values > 1 {
				l.Bars = append(l.Bars, bar{at, y(max(q.Dice.Low, low)), y(min(q.Dice.High, high))})
			}
		}
		l.Points = strings.TrimSpace(text.String())
		p.Lines = append(p.Lines, l)
	}
	return p
}

// tickStep is 1, 2 or 5 times a power of ten, for about five steps.
func tickStep(span float64) float64 {
	if !(span > 0) {
		return 0.1
	}
	base := math.Pow(10, math.Floor(math.Log10(span/5)))
	for _, k := range []float64{1, 2, 5} {
		if span/(k*base) <= 6 {
			return k * base
		}
	}
	return 10 * base
}
