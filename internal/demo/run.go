package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/voxloop/voxloop/internal/phantom"
)

// Result is how a demo ended.
type Result struct {
	Published int           // versions that the gate put into service
	Refused   int           // by the gate
	Dice      float64       // mean over the held-out cases, of the version published last
	Rollback  time.Duration // of the call
}

// String is the demo's last line.
func (r Result) String() string {
	return fmt.Sprintf("published=%d refused=%d holdout_dice=%.4f rollback_ms=%d", r.Published, r.Refused, r.Dice, r.Rollback.Milliseconds())
}

const (
	firstLabels = 12
	// The loop has shown what it can when the held-out cases reach this Dice, in
	// more than one step unless that takes long.
	enoughDice = 0.9
	steps      = 2
	long       = 90 * time.Second
)

// show is a demo under way.
type show struct {
	c    *Client
	f    Folder
	say  func(format string, args ...any)
	seen map[string]bool     // verdicts that were told: whether they were good
	sums map[string][32]byte // what a version says about the first image
	r    Result
	left bool // images without a label
}

// Run goes through the whole loop on a server that was started on an untouched
// Folder: until a version with a held-out Dice of 0.9 serves, or, when one was
// published at all, half of the time that ctx has is over. It returns an
// error unless the gate published at least one version and refused the harmed
// one, and the rollback brought back what served before, voxel by voxel where that
// had been looked at.
func Run(ctx context.Context, c *Client, f Folder, say func(format string, args ...any)) (Result, error) {
	s := &show{c: c, f: f, say: say, seen: map[string]bool{}, sums: map[string][32]byte{}, left: true}
	for _, step := range []func(context.Context) error{s.begin, s.learn, s.harm, s.back} {
		if err := step(ctx); err != nil {
			return s.r, err
		}
	}
	return s.r, nil
}

func (s *show) begin(ctx context.Context) error {
	version, err := s.remember(ctx)
	if err != nil {
		return err
	}
	s.say("No image is labelled. Version %s came with the app: its weights are random.", short(version))
	for range firstLabels {
		if err := s.annotate(ctx); err != nil {
			return err
		}
	}
	return nil
}

// annotate labels the image that the server asks for with the truth.
func (s *show) annotate(ctx context.Context) error {
	id, err := s.c.next(ctx)
	if err != nil || id == "" {
		s.left = false
		return err
	}
	truth, err := os.ReadFile(filepath.Join(s.f.Studies, phantom.TruthDir, filepath.Base(id)+".nii.gz"))
	if err != nil {
		return err
	}
	if err := s.c.label(ctx, id, truth); err != nil {
		return err
	}
	s.say("  the server asks for %s: labelled", id)
	return nil
}

// learn labels on while the server trains, and tells what its gate says.
func (s *show) learn(ctx context.Context) error {
	s.say("It trains by itself now, again and again. The gate compares every candidate with the version in service on held-out images.")
	begin := time.Now()
	half := 5 * time.Minute
	if end, ok := ctx.Deadline(); ok {
		half = time.Until(end) / 2
	}
	enough := func() bool {
		took := time.Since(begin)
		return s.r.Published >= steps && s.r.Dice >= enoughDice || s.r.Published > 0 && (s.r.Dice >= enoughDice && took > long || took > half)
	}
	for next := begin; !enough(); {
		if err := wait(ctx, 200*time.Millisecond); err != nil {
			return fmt.Errorf("after %s, %s: %w", time.Since(begin).Round(time.Second), s.r, err)
		}
		if err := s.tell(ctx); err != nil {
			return err
		}
		if s.left && time.Now().After(next) {
			if err := s.annotate(ctx); err != nil {
				return err
			}
			next = time.Now().Add(2 * time.Second)
		}
	}
	return s.quiet(ctx)
}

// quiet stops the training that runs, so that nothing but what is shown changes
// the version in service until the schedule's next one is through.
func (s *show) quiet(ctx context.Context) error {
	if _, err := s.c.do(ctx, http.MethodDelete, "/train/", "", nil); err != nil {
		return err
	}
	return s.tell(ctx)
}

// tell tells new verdicts and waits for what the gate published to serve.
func (s *show) tell(ctx context.Context) error {
	all, err := s.c.verdicts(ctx)
	if err != nil {
		return err
	}
	for _, v := range all {
		if _, told := s.seen[v.Version]; told {
			continue
		}
		s.seen[v.Version] = v.Verdict.Pass
		m := v.Verdict.Mean
		if !v.Verdict.Pass {
			s.r.Refused++
			s.say("Version %s is refused. %s", short(v.Version), v.Verdict.Reason)
			continue
		}
		if err := s.serves(ctx, v.Version); err != nil {
			return err
		}
		s.r.Published++
		s.r.Dice = m.Candidate
		s.say("Version %s is better and serves now: Dice %.3f on %d held-out images, before %.3f", short(v.Version), m.Candidate, m.Cases, m.Current)
	}
	return nil
}

// serves waits until a version that was judged better has gone into service. It
// may have been followed by another one since.
func (s *show) serves(ctx context.Context, version string) error {
	for range 600 {
		if _, err := s.remember(ctx); err != nil {
			return err
		}
		if done, err := s.c.published(ctx, version); done || err != nil {
			return err
		}
		if err := wait(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("version %s was judged better a minute ago and does not serve", short(version))
}

// remember keeps what the version in service says about the first image.
func (s *show) remember(ctx context.Context) (string, error) {
	version, sum, err := s.c.segment(ctx, "phantom_0001")
	if err != nil {
		return "", err
	}
	if before, ok := s.sums[version]; ok && before != sum {
		return "", fmt.Errorf("version %s says something else about an image than before", short(version))
	}
	s.sums[version] = sum
	return version, nil
}

// harm offers the network in service with one layer turned around.
func (s *show) harm(ctx context.Context) error {
	a, err := s.c.do(ctx, http.MethodGet, "/model/"+Model, "", nil)
	if err != nil {
		return err
	}
	network, err := Harmed(a.body)
	if err != nil {
		return err
	}
	s.say("Somebody sends the network in service with one layer harmed.")
	var v struct{ Candidate string }
	if err := s.c.file(ctx, "/model/"+Model+"?reason=harmed", "file", "small.onnx", network, &v); err != nil {
		return err
	}
	if err := s.tell(ctx); err != nil {
		return err
	}
	serving, err := s.remember(ctx)
	if err != nil {
		return err
	}
	if passed, judged := s.seen[v.Candidate]; passed || !judged || serving == v.Candidate {
		return errors.New("the harmed candidate was not refused")
	}
	return nil
}

// back rolls back and looks whether the version before serves again.
func (s *show) back(ctx context.Context) error {
	if err := s.quiet(ctx); err != nil {
		return err
	}
	from, err := s.remember(ctx)
	if err != nil {
		return err
	}
	begin := time.Now()
	var v struct{ Version string }
	if err := s.c.json(ctx, http.MethodPost, "/model/"+Model+"/rollback?reason=demo", nil, &v); err != nil {
		return err
	}
	s.r.Rollback = time.Since(begin)
	_, known := s.sums[v.Version]
	to, err := s.remember(ctx)
	switch {
	case err != nil:
		return err
	case to == from || to != v.Version:
		return fmt.Errorf("after the rollback from %s, %s serves; the server says %s", short(from), short(to), short(v.Version))
	}
	what := ""
	if known { // remember has compared
		what = " and says what it said before, voxel by voxel"
	}
	s.say("Rollback in %d ms: version %s serves again%s.", s.r.Rollback.Milliseconds(), short(to), what)
	return nil
}

func short(version string) string { return version[:min(8, len(version))] }
