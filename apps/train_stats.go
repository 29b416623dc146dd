package apps

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/trainers"
)

// trainingStats are the numbers of every trainer's last training, as clients poll
// them. They are kept on disk.
type trainingStats struct {
	dir string // "": nothing is kept
	log *slog.Logger

	mu sync.Mutex
	by map[string]*stat
}

// stat is one training in numbers.
type stat struct {
	Running bool               `json:"-"`
	Start   time.Time          `json:"start"`
	Took    time.Duration      `json:"took_ns"` // of earlier parts while it runs
	Epoch   int                `json:"epoch"`
	Epochs  int                `json:"epochs"`
	Step    int                `json:"step"`
	Steps   int                `json:"steps"`
	Loss    float64            `json:"loss"`
	Least   float64            `json:"least_loss"` // the smallest of an epoch
	LeastAt int                `json:"least_loss_epoch"`
	Dice    map[string]float64 `json:"dice,omitempty"` // of the last validation
	Mean    float64            `json:"mean_dice"`
	Best    float64            `json:"best_mean_dice"`
	BestAt  int                `json:"best_epoch"`
}

func newTrainingStats(dir string, log *slog.Logger) *trainingStats {
	return &trainingStats{dir: dir, log: log, by: map[string]*stat{}}
}

// get needs the lock. It reads what an earlier server kept; nil: nothing.
func (s *trainingStats) get(trainer string) *stat {
	if x, ok := s.by[trainer]; ok || s.dir == "" {
		return x
	}
	data, err := os.ReadFile(s.file(trainer))
	x := &stat{}
	if err == nil {
		err = json.Unmarshal(data, x)
	}
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("statistics of a training cannot be read", "trainer", trainer, "err", err)
		}
		x = nil
	}
	s.by[trainer] = x
	return x
}

func (s *trainingStats) file(trainer string) string { return filepath.Join(s.dir, trainer+".json") }

// begin starts the numbers of a new training.
func (s *trainingStats) begin(trainer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.by[trainer] = &stat{Running: true, Start: time.Now()}
}

// note takes an event in.
func (s *trainingStats) note(trainer string, e trainers.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.by[trainer]
	if x == nil {
		return
	}
	x.Epoch, x.Epochs = max(x.Epoch, e.Epoch), max(x.Epochs, e.Epochs)
	x.Step, x.Steps = max(x.Step, e.Step), max(x.Steps, e.Steps)
	if e.Loss != 0 {
		x.Loss = e.Loss
		if x.LeastAt == 0 || e.Loss < x.Least {
			x.Least, x.LeastAt = e.Loss, x.Epoch
		}
	}
	if e.Kind == trainers.Validated {
		x.Dice, x.Mean = maps.Clone(e.Dice), e.Mean
		if x.BestAt == 0 || e.Mean > x.Best {
			x.Best, x.BestAt = e.Mean, e.Epoch
		}
		s.keep(trainer, x)
	}
}

// end closes the numbers of a training.
func (s *trainingStats) end(trainer string, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.by[trainer]
	if x == nil {
		return
	}
	x.Running, x.Took = false, time.Since(x.Start)
	if done { // a plan that ended early is a shorter plan
		x.Epochs, x.Steps = max(x.Epoch, 1), x.Step
	}
	s.keep(trainer, x)
}

// keep needs the lock.
func (s *trainingStats) keep(trainer string, x *stat) {
	if s.dir == "" {
		return
	}
	c := *x
	c.Took = time.Since(c.Start)
	data, err := json.Marshal(c)
	if err == nil {
		err = os.MkdirAll(s.dir, 0o750)
	}
	if err == nil {
		err = atomicfile.Write(s.file(trainer), 0o640, func(w io.Writer) error {
			_, err := w.Write(append(data, '\n'))
			return err
		})
	}
	if err != nil {
		s.log.Warn("statistics of a training are not kept", "trainer", trainer, "err", err)
	}
}

// object returns the numbers as clients read them: an empty object before the
// first training. There are no nulls and no NaN in it.
func (s *trainingStats) object(trainer string) *ordered.Map {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.get(trainer)
	if x == nil {
		return &ordered.Map{}
	}
	o := ordered.Of(
		"rank", 0, "current_epoch", x.Epoch, "current_iteration", x.Step, "total_epochs", x.Epochs, "total_iterations", x.Steps,
		"epoch", x.Epoch, "start_ts", x.Start.Unix(),
	)
	if x.Running {
		o.Set("current_time", hoursText(time.Since(x.Start)))
	} else {
		o.Set("total_time", hoursText(x.Took))
	}
	return o.Set("best_metric", finite(x.Best)).Set("train", x.learned()).Set("eval", x.judged())
}

// learned is what the training cases say.
func (x *stat) learned() *ordered.Map {
	metrics := &ordered.Map{}
	if x.LeastAt > 0 {
		metrics.Set("train_loss", finite(x.Loss))
	}
	return ordered.Of("metrics", metrics, "key_metric_name", "train_loss", "best_metric", finite(x.Least), "best_metric_epoch", x.LeastAt)
}

// judged is what the validation cases say, per class.
func (x *stat) judged() *ordered.Map {
	metrics := &ordered.Map{}
	if x.BestAt > 0 {
		metrics.Set("val_mean_dice", finite(x.Mean))
	}
	for _, name := range slices.Sorted(maps.Keys(x.Dice)) {
		metrics.Set("val_"+name+"_dice", finite(x.Dice[name]))
	}
	return ordered.Of("metrics", metrics, "key_metric_name", "val_mean_dice", "best_metric", finite(x.Best), "best_metric_epoch", x.BestAt)
}

// finite is a number that JSON can hold, written as a float.
func finite(f float64) json.Number {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		f = 0
	}
	b, err := json.Marshal(f)
	if err != nil {
		return "0.0"
	}
	text := string(b)
	if f == math.Trunc(f) && math.Abs(f) < 1e15 {
		text = fmt.Sprintf("%.1f", f)
	}
	return json.Number(text)
}

// hoursText writes a duration as the reference does: hours:minutes:seconds.
func hoursText(d time.Duration) string {
	s := int(d.Seconds())
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// trainStatsObject is the train_stats of GET /info/.
func (a *App) trainStatsObject() *ordered.Map {
	out := &ordered.Map{}
	for _, t := range a.training.trainers() {
		out.Set(t.name, a.training.stats.object(t.name))
	}
	return out
}
