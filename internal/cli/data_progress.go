package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/voxloop/voxloop/internal/dataset"
)

// dataProgress shows the phases of a fetch: a bar on a terminal, elsewhere a
// line for each phase and each tenth of it that took its time. It is used by
// one goroutine at a time.
type dataProgress struct {
	w    io.Writer
	name string
	tty  bool

	phase string
	total int64
	bar   *progressbar.ProgressBar
	tenth int64
	said  time.Time
}

// saidEvery is the least time between two lines of one phase.
const saidEvery = 10 * time.Second

func newDataProgress(w io.Writer, name string) *dataProgress {
	return &dataProgress{w: w, name: name, tty: isTerminal(w)}
}

// set tells how far a phase is; total is -1 where nobody knows.
func (p *dataProgress) set(phase string, done, total int64) {
	if phase != p.phase || total != p.total {
		p.begin(phase, total)
	}
	if p.bar != nil {
		_ = p.bar.Set64(done) // a bar that cannot be drawn must not stop the work
		return
	}
	if total <= 0 || done >= total {
		return
	}
	if t := 10 * done / total; t > p.tenth && time.Since(p.said) >= saidEvery {
		p.tenth, p.said = t, time.Now()
		_, _ = fmt.Fprintf(p.w, "%s: %s, %d %%\n", p.name, phase, 10*t) // as above
	}
}

func (p *dataProgress) begin(phase string, total int64) {
	p.close()
	same := phase == p.phase
	p.phase, p.total, p.tenth, p.said = phase, total, 0, time.Now()
	switch {
	case p.tty:
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(p.w), progressbar.OptionSetDescription(p.name+": "+phase),
			progressbar.OptionShowBytes(phase != dataset.PhaseConvert), progressbar.OptionShowCount(),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetWidth(30), progressbar.OptionClearOnFinish())
	case !same:
		_, _ = fmt.Fprintf(p.w, "%s: %s\n", p.name, phase) // as above
	}
}

// close removes the bar from the screen.
func (p *dataProgress) close() {
	if p.bar != nil {
		_ = p.bar.Clear() // as above
		p.bar = nil
	}
}
