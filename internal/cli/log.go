package cli

import (
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"
)

// newHandler returns a slog handler that writes to w: readable lines in format
// "text", JSON in "json", and in "auto" the former on a terminal only. level is
// debug, info, warning or error.
func newHandler(w io.Writer, format, level string) slog.Handler {
	o := &slog.HandlerOptions{Level: logLevel(level)}
	if format == "text" || (format == "auto" && isTerminal(w)) {
		o.ReplaceAttr = shortTime
		return slog.NewTextHandler(w, o)
	}
	return slog.NewJSONHandler(w, o)
}

func logLevel(name string) slog.Level {
	switch name {
	case "debug":
		return slog.LevelDebug
	case "warning":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	}
	return slog.LevelInfo
}

// shortTime leaves out the date: a person at a terminal knows it.
func shortTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.String(slog.TimeKey, a.Value.Time().Format("15:04:05.000"))
	}
	return a
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
