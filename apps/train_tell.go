package apps

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/voxloop/voxloop/trainers"
)

// teller turns the events of a training into lines of its task, into statistics
// and into metrics.
type teller struct {
	lesson  *lesson
	request trainers.Request
}

// event takes one event in. It is called from one goroutine at a time.
func (s *teller) event(e trainers.Event) {
	l := s.lesson
	l.training.stats.note(l.trainer.name, e)
	if e.Kind == trainers.Validated {
		l.training.count.dice.WithLabelValues(l.trainer.name).Set(e.Mean)
	}
	line := s.line(e)
	switch e.Kind {
	case trainers.Progress:
		l.job.Progress(stamped(line))
		return
	case trainers.Checkpoint:
		l.job.Safe()
		return
	case trainers.Warned:
		l.log.Warn("training", "warning", line)
	case trainers.Started, trainers.Validated:
		l.log.Info("training", "event", line)
	case trainers.Finished, trainers.Broke:
		return // told by how Train ends
	}
	if line != "" {
		l.job.Log(stamped(line))
	}
}

func stamped(line string) string { return time.Now().Format("15:04:05 ") + line }

// line says an event in words.
func (s *teller) line(e trainers.Event) string {
	switch e.Kind {
	case trainers.Started:
		return s.plan(e)
	case trainers.Progress:
		return progressLine(e)
	case trainers.Validated:
		line := fmt.Sprintf("epoch %d validated: %s", e.Epoch, diceText(e.Mean, e.Dice))
		if e.Best {
			line += ", the best so far"
		}
		return line
	default:
		return e.Message
	}
}

func (s *teller) plan(e trainers.Event) string {
	train, check := 0, 0
	for _, c := range s.request.Cases {
		if c.Role == trainers.Validate {
			check++
		} else {
			train++
		}
	}
	parts := []string{fmt.Sprintf("cases: %d to learn from, %d to validate", train, check)}
	if e.Steps > 0 {
		parts = append(parts, fmt.Sprintf("%d steps", e.Steps))
	}
	if e.Epochs > 0 {
		parts = append(parts, fmt.Sprintf("%d epochs", e.Epochs))
	}
	if e.Batch > 0 {
		parts = append(parts, fmt.Sprintf("batches of %d", e.Batch))
	}
	if len(e.Patch) > 0 {
		parts = append(parts, "patches of "+strings.Trim(strings.ReplaceAll(fmt.Sprint(e.Patch), " ", "x"), "[]")+" voxels")
	}
	if e.Step > 0 {
		parts = append(parts, fmt.Sprintf("going on after step %d", e.Step))
	}
	return "training " + s.lesson.wanted.name + " on " + s.request.Device + ": " + strings.Join(parts, ", ")
}

func progressLine(e trainers.Event) string {
	var parts []string
	of := func(what string, n, total int) {
		switch {
		case n > 0 && total > 0:
			parts = append(parts, fmt.Sprintf("%s %d of %d", what, n, total))
		case n > 0:
			parts = append(parts, fmt.Sprintf("%s %d", what, n))
		}
	}
	of("epoch", e.Epoch, e.Epochs)
	of("step", e.Step, e.Steps)
	if e.Loss != 0 {
		parts = append(parts, fmt.Sprintf("loss %.4f", e.Loss))
	}
	if e.Samples > 0 {
		parts = append(parts, fmt.Sprintf("%.1f samples/s", e.Samples))
	}
	if e.ETA > 0 && e.ETA < 1e8 {
		parts = append(parts, (time.Duration(e.ETA)*time.Second).String()+" left")
	}
	if e.Message != "" {
		parts = append(parts, e.Message)
	}
	return strings.Join(parts, ", ")
}

func diceText(mean float64, dice map[string]float64) string {
	var each []string
	for _, name := range slices.Sorted(maps.Keys(dice)) {
		each = append(each, fmt.Sprintf("%s %.3f", name, dice[name]))
	}
	if len(each) == 0 {
		return fmt.Sprintf("mean Dice %.3f", mean)
	}
	return fmt.Sprintf("mean Dice %.3f (%s)", mean, strings.Join(each, ", "))
}
