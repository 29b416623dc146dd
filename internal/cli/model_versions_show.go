package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

// objects returns the objects in a list of an object.
func objects(m *ordered.Map, key string) []*ordered.Map {
	list, _ := value(m, key).([]any)
	var out []*ordered.Map
	for _, x := range list {
		if o, ok := x.(*ordered.Map); ok {
			out = append(out, o)
		}
	}
	return out
}

// oneVersion finds a version by its id, the start of one, or "app".
func oneVersion(m *ordered.Map, text string) (*ordered.Map, error) {
	var found []*ordered.Map
	for _, v := range objects(m, "versions") {
		own := value(v, "app") == true
		if text == infer.AppVersion && own || len(text) >= 4 && strings.HasPrefix(v.String("version"), text) {
			found = append(found, v)
		}
	}
	switch len(found) {
	case 0:
		return nil, fault.New(fault.NotFound, "model %s has no version %q", m.String("model"), text)
	case 1:
		return found[0], nil
	}
	return nil, fault.New(fault.Invalid, "%d versions of model %s begin with %q; give more digits", len(found), m.String("model"), text)
}

// showVersions prints an answer about versions for people.
func showVersions(w io.Writer, o *ordered.Map) error {
	var b strings.Builder
	switch {
	case value(o, "models") != nil:
		for _, m := range objects(o, "models") {
			versionLines(&b, m)
		}
	case value(o, "versions") != nil:
		versionLines(&b, o)
		for _, h := range objects(o, "history") {
			swapLine(&b, h)
		}
	case value(o, "retired") != nil:
		list, _ := value(o, "retired").([]any)
		fmt.Fprintf(&b, "deleted: %d\n", len(list))
		for _, id := range list {
			fmt.Fprintf(&b, "  %v\n", id)
		}
	default:
		for k, v := range o.All() {
			if m, ok := v.(*ordered.Map); ok {
				v = pairText(m)
			}
			fmt.Fprintf(&b, "%-12s %v\n", k, v)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func pairText(m *ordered.Map) string {
	var words []string
	for k, v := range m.All() {
		words = append(words, fmt.Sprintf("%s %v", k, v))
	}
	return strings.Join(words, ", ")
}

// versionLines prints a model's versions, the one in service with a star.
func versionLines(b *strings.Builder, m *ordered.Map) {
	fmt.Fprintln(b, m.String("model"))
	for _, v := range objects(m, "versions") {
		mark, words := " ", []string{v.String("state")}
		if value(v, "in_service") == true {
			mark, words[0] = "*", "in service"
		}
		for _, key := range []string{"previous", "pinned", "app"} {
			if value(v, key) == true {
				words = append(words, map[string]string{"previous": "next on a rollback", "pinned": "pinned", "app": "the app's own"}[key])
			}
		}
		if value(v, "app") != true {
			words = append(words, v.String("origin")+" "+v.String("created"))
		}
		if n := numberText(v, "mean_dice"); n != "–" {
			words = append(words, "Dice "+n)
		}
		for _, key := range []string{"reason", "why"} {
			if t := v.String(key); t != "" {
				words = append(words, t)
			}
		}
		fmt.Fprintf(b, " %s %-32s  %s\n", mark, v.String("version"), strings.Join(words, ", "))
	}
}

func swapLine(b *strings.Builder, h *ordered.Map) {
	what, to := "→", h.String("to")
	if h.String("refused") != "" {
		what = "✗"
	}
	fmt.Fprintf(b, "%s  %s %s %s  %s", h.String("time"), short(h.String("from")), what, short(to), h.String("origin"))
	for _, key := range []string{"reason", "refused"} {
		if t := h.String(key); t != "" {
			fmt.Fprintf(b, ": %s", t)
		}
	}
	b.WriteByte('\n')
}

// short is the start of an id.
func short(id string) string { return id[:min(len(id), 8)] }
