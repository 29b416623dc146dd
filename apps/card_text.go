package apps

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	proof "github.com/voxloop/voxloop/trainers/gate"
)

// Markdown is the card for people.
func (c *Card) Markdown() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# Model card: %s, version %s\n", c.Model, c.Version)
	if c.Description != "" {
		line("%s\n", oneLine(c.Description))
	}
	line("**Not for diagnosis.** This software is no medical device.\n")
	line("## Use\n")
	line("- Intended use: %s", oneLine(c.IntendedUse))
	line("- Limitations: %s", oneLine(c.Limitations))
	if c.IntendedUse == notStated || c.Limitations == notStated {
		line("  (`provenance: {intended_use: …, limitations: …}` in the model's manifest.yaml states them)")
	}
	line("\n## Version\n")
	row := func(name, value string) {
		if value != "" {
			line("- %s: %s", name, oneLine(value))
		}
	}
	row("origin", c.Origin)
	row("reason", c.Reason)
	row("made from", c.Parent)
	if !c.Created.IsZero() {
		row("recorded", c.Created.UTC().Format(time.RFC3339))
	}
	row("network's SHA-256", c.Checksum)
	row("modality", c.Modality)
	row("licence", c.Licence)
	var names []string
	for _, l := range c.Labels {
		names = append(names, fmt.Sprintf("%s (%d)", l.Name, l.Value))
	}
	row("labels", strings.Join(names, ", "))
	for _, key := range slices.Sorted(maps.Keys(c.Provenance)) {
		row(key, c.Provenance[key])
	}
	line("\n## Training\n")
	c.Training.text(line)
	line("\n## Held-out cases\n")
	c.HoldOut.text(line)
	line("\nWritten %s.", c.Written.Format(time.RFC3339))
	return b.String()
}

func (t *CardTraining) text(line func(string, ...any)) {
	if t == nil {
		line("This version was not trained here; nothing is known of its training.")
		return
	}
	line("- %d cases of %d subjects, %d further cases for validation; fingerprint of the data `%s`", t.Cases, t.Subjects, t.Validation, t.Data)
	line("- %d steps, %d epochs, batches of %d, patches of %d×%d×%d voxels, seed %d, %s", t.Steps, t.Epochs, t.Batch, t.Patch[0], t.Patch[1], t.Patch[2], t.Seed,
		time.Duration(t.Seconds*float64(time.Second)).Round(time.Second))
	if t.Begun != "" {
		line("- began from version %s", t.Begun)
	}
	if len(t.Dice) > 0 {
		line("- Dice of the validation cases: %s", diceText(t.Mean, t.Dice))
	}
	line("- ONNX Runtime %s %s, Voxloop %s %s", t.Library.Version, t.Library.Variant, t.Code.Version, t.Code.Commit)
	for _, w := range t.Warnings {
		line("- warning: %s", oneLine(w))
	}
}

func (h *CardHoldOut) text(line func(string, ...any)) {
	if h == nil {
		line("This version was not judged on held-out cases.")
		return
	}
	v := h.Verdict
	word := "refused"
	if v.Pass {
		word = "better"
	}
	line("Compared with version %s on %d cases that no training has seen, %s: **%s**. %s\n", h.Against, h.Cases, h.Time.UTC().Format(time.RFC3339), word, oneLine(v.Reason))
	line("| | this version | version in service then | change | %g %% interval | cases |", 100*(1-2*v.Level))
	line("|---|---|---|---|---|---|")
	row := func(name string, c proof.Comparison) {
		line("| %s | %.4f | %.4f | %+.4f | %+.4f to %+.4f | %d |", name, c.Candidate, c.Current, c.Change, c.Low, c.High, c.Cases)
	}
	for _, name := range slices.Sorted(maps.Keys(v.Classes)) {
		row("Dice "+oneLine(name), v.Classes[name])
	}
	row("Dice, mean", v.Mean)
	if v.HD95 != nil {
		row("HD95, mm", *v.HD95)
	}
	if v.ECE != nil {
		row("ECE", *v.ECE)
	}
	if v.Seconds != nil {
		row("seconds per case", *v.Seconds)
	}
	line("\nThe mean Dice is larger with p = %.4g (bootstrap) and %.4g (Wilcoxon). Failed cases: %d, with the version in service %d.", v.PBootstrap, v.PWilcoxon, v.Failures[0], v.Failures[1])
}

// oneLine keeps what people wrote from breaking the page.
func oneLine(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", "\\|")
}
