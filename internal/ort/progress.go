package ort

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows how far an installation is: a bar on a terminal, a line per
// phase and quarter elsewhere, nothing on a nil writer. It is used by one
// goroutine at a time.
type progress struct {
	w     io.Writer // nil: silent
	title string
	tty   bool

	doing string
	total int64
	shown int64 // quarters told so far
	bar   *progressbar.ProgressBar
}

func newProgress(w io.Writer, title string) *progress {
	p := &progress{w: w, title: title}
	if f, ok := w.(*os.File); ok {
		p.tty = term.IsTerminal(int(f.Fd()))
	}
	return p
}

// phase begins a new part of the work, of total bytes.
func (p *progress) phase(doing string, total int64) {
	p.close()
	p.doing, p.total, p.shown = doing, total, 0
	switch {
	case p.w == nil:
	case p.tty:
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(p.w), progressbar.OptionSetDescription(p.title+": "+doing),
			progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetWidth(30), progressbar.OptionClearOnFinish())
	default:
		p.line("%s: %s, %d MB", p.title, doing, total/1e6)
	}
}

// set tells how many bytes of the phase are done.
func (p *progress) set(done int64) {
	done = min(done, p.total)
	if p.bar != nil {
		_ = p.bar.Set64(done) // a bar that cannot be drawn must not stop the work
		return
	}
	if p.w == nil || p.total <= 0 {
		return
	}
	if q := 4 * done / p.total; q > p.shown && q < 4 {
		p.shown = q
		p.line("%s: %s, %d %%", p.title, p.doing, 25*q)
	}
}

// done says that the installation is complete.
func (p *progress) done(took time.Duration) {
	p.close()
	if p.w != nil {
		p.line("%s: installed in %s", p.title, took.Round(100*time.Millisecond))
	}
}

// close removes the bar from the screen.
func (p *progress) close() {
	if p.bar != nil {
		_ = p.bar.Clear() // as in set
		p.bar = nil
	}
}

func (p *progress) line(format string, args ...any) {
	_, _ = fmt.Fprintf(p.w, format+"\n", args...) // progress must not stop the work
}
