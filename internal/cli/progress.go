package cli

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress is a bar on a terminal that counts cases, and nothing elsewhere. It
// is used by one goroutine at a time.
type progress struct {
	w     io.Writer
	title string
	bar   *progressbar.ProgressBar
}

func newProgress(w io.Writer, title string) *progress { return &progress{w: w, title: title} }

// set tells how many cases of how many are done.
func (p *progress) set(done, total int) {
	if !isTerminal(p.w) {
		return
	}
	if p.bar == nil {
		p.bar = progressbar.NewOptions(total,
			progressbar.OptionSetWriter(p.w), progressbar.OptionSetDescription(p.title), progressbar.OptionShowCount(),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetWidth(30), progressbar.OptionClearOnFinish())
	}
	p.bar.ChangeMax(total)
	_ = p.bar.Set(done) // a bar that cannot be drawn must not stop the work
}

// close removes the bar from the screen.
func (p *progress) close() {
	if p.bar != nil {
		_ = p.bar.Clear() // as in set
		p.bar = nil
	}
}
