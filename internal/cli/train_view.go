package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/voxloop/voxloop/trainers"
)

// trainView shows what happens in a training: lines about epochs on standard
// output and a bar on the terminal, or events as lines of JSON. It is used by
// one goroutine.
type trainView struct {
	out, err io.Writer
	lines    *json.Encoder // of --json
	quiet    bool          // no lines about epochs, only the bar and warnings
	bar      *progress
	last     trainers.Event // of the kind Progress
	told     time.Time
}

// lineEvery is the least time between two lines about epochs that were not
// validated.
const lineEvery = 10 * time.Second

func newTrainView(s streams, asJSON bool) *trainView {
	v := &trainView{out: s.out, err: s.err, bar: newProgress(s.err, "training"), told: time.Now()}
	if asJSON {
		v.lines = json.NewEncoder(s.out)
	}
	return v
}

// event shows one event. A terminal that cannot be written to must not stop the
// training.
func (v *trainView) event(e trainers.Event) {
	if v.lines != nil {
		_ = v.lines.Encode(e)
		return
	}
	switch e.Kind {
	case trainers.Started:
		v.line("%d steps, %d epochs, batch %d, patch %v", e.Steps, e.Epochs, e.Batch, e.Patch)
	case trainers.Progress:
		if e.Epoch != v.last.Epoch && v.last.Epoch > 0 && time.Since(v.told) >= lineEvery {
			v.epoch(v.last)
		}
		v.last = e
		v.bar.set(e.Step, e.Steps)
	case trainers.Validated:
		if v.last.Epoch == e.Epoch {
			e.Samples = v.last.Samples
		}
		v.epoch(e)
	case trainers.Warned:
		v.warn(e.Message)
	case trainers.Checkpoint, trainers.Finished, trainers.Broke:
	}
}

// epoch prints one line about an epoch.
func (v *trainView) epoch(e trainers.Event) {
	v.told = time.Now()
	text := fmt.Sprintf("epoch %*d/%d  step %*d/%d  loss %.4f  rate %.2e", digits(e.Epochs), e.Epoch, e.Epochs, digits(e.Steps), e.Step, e.Steps, e.Loss, e.Rate)
	if e.Dice != nil {
		text += fmt.Sprintf("  Dice %.4f (%s)", e.Mean, diceText(e.Dice))
	}
	if e.Best {
		text += " best"
	}
	if e.Samples > 0 {
		text += fmt.Sprintf("  %.1f samples/s", e.Samples)
	}
	if e.ETA > 0 {
		text += "  left " + time.Duration(e.ETA*float64(time.Second)).Round(time.Second).String()
	}
	v.line("%s", text)
}

func digits(n int) int { return len(fmt.Sprint(n)) }

func diceText(dice map[string]float64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(dice)) {
		parts = append(parts, fmt.Sprintf("%s %.4f", name, dice[name]))
	}
	return strings.Join(parts, ", ")
}

func (v *trainView) line(format string, args ...any) {
	v.bar.close()
	if v.quiet {
		return
	}
	_, _ = fmt.Fprintf(v.out, format+"\n", args...)
}

// warn names on standard error what was left out or changed.
func (v *trainView) warn(text string) {
	if v.lines != nil {
		_ = v.lines.Encode(trainers.Event{Kind: trainers.Warned, Message: text})
		return
	}
	v.note("warning: " + text)
}

func (v *trainView) note(text string) {
	v.bar.close()
	_, _ = fmt.Fprintln(v.err, text)
}

// done says where the model is.
func (v *trainView) done(r trainers.Result) error {
	if v.lines != nil {
		return nil // the last event said it
	}
	text := fmt.Sprintf("%s: %d steps in %s", r.Model, r.Steps, r.Took.Round(time.Second))
	if r.Dice != nil {
		text += fmt.Sprintf(", validation Dice %.4f (%s)", r.Mean, diceText(r.Dice))
	}
	_, err := fmt.Fprintln(v.out, text)
	return err
}

func (v *trainView) close() { v.bar.close() }

// fold says which fold is next.
func (v *trainView) fold(k, n int) {
	if v.lines == nil {
		v.line("fold %d of %d", k, n)
	}
	v.last = trainers.Event{}
}

// crossValidated sums the folds up.
func (v *trainView) crossValidated(c trainers.CrossValidation) error {
	if v.lines != nil {
		return v.lines.Encode(struct {
			Event string                   `json:"event"`
			All   trainers.CrossValidation `json:"cross_validation"`
		}{"cross_validated", c})
	}
	for _, name := range slices.Sorted(maps.Keys(c.Classes)) {
		s := c.Classes[name]
		v.line("%-24s Dice %.4f ± %.4f, median %.4f, least %.4f, %d cases", name, s.Mean, s.SD, s.Median, s.Least, s.Cases)
	}
	_, err := fmt.Fprintf(v.out, "%d folds: mean Dice %.4f over %d cases\n", len(c.Folds), c.Mean, c.Cases)
	return err
}
