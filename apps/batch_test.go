package apps

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/jobs"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/internal/phantom"
	"github.com/voxloop/voxloop/trainers/trainertest"
)

// painter is an engine that labels every voxel of an image 1 and counts.
type painter struct {
	mu      sync.Mutex
	version string
	runs    int
	now     int // inferences at this moment
	most    int
	hook    func(ctx context.Context, run int) error // before the work; may be nil
}

func (e *painter) Models() []infer.Info {
	e.mu.Lock()
	defer e.mu.Unlock()
	return []infer.Info{{
		Name: "hippocampus", Type: "segmentation", Dimension: 3, State: infer.Ready, Version: e.version, Channels: 1,
		Labels: []infer.Label{{Name: "anterior", Value: 1}, {Name: "posterior", Value: 2}},
	}}
}

func (e *painter) Model(name string) (infer.Info, bool) { return e.Models()[0], name == "hippocampus" }
func (e *painter) Wait(context.Context, string) error   { return nil }
func (e *painter) Close() error                         { return nil }

func (e *painter) Infer(ctx context.Context, _ string, in infer.Input, _ infer.Options) (*infer.Output, error) {
	e.mu.Lock()
	e.runs++
	e.now++
	e.most = max(e.most, e.now)
	run, hook := e.runs, e.hook
	e.mu.Unlock()
	defer func() { e.mu.Lock(); e.now--; e.mu.Unlock() }()
	if hook != nil {
		if err := hook(ctx, run); err != nil {
			return nil, err
		}
	}
	l := imaging.NewLabelMap(in.Volumes[0].Grid)
	for i := range l.Data {
		l.Data[i] = 1
	}
	return &infer.Output{Labels: l, Model: e.Models()[0]}, nil
}

func (e *painter) count() int { e.mu.Lock(); defer e.mu.Unlock(); return e.runs }

func (e *painter) set(version string, hook func(context.Context, int) error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.version, e.hook = version, hook
}

// openPainted opens an app on studies whose engine is e.
func openPainted(t *testing.T, studies string, e Engine) *school {
	t.Helper()
	return openSchoolWith(t, studies, e, nil)
}

func openSchoolWith(t *testing.T, studies string, e Engine, change func(*Options)) *school {
	t.Helper()
	return openSchool(t, studies, trainertest.Script{}, func(o *Options) {
		o.Engine, o.Training = e, TrainingOptions{}
		if change != nil {
			change(o)
		}
	})
}

// batchEnded submits a batch inference and waits for its end.
func (s *school) batchEnded(q *jobs.Queue, body string) jobs.Task {
	s.t.Helper()
	task, err := q.Start(ordered.Of("model", "hippocampus").Merge(parse(s.t, body)), false)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.awaitEnd(q, task.ID)
}

func (s *school) awaitEnd(q *jobs.Queue, id string) jobs.Task {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if found, ok := task(q, id); ok && found.Finished() {
			return found
		}
	}
	s.t.Fatalf("the task never ended\n%s", s.log.String())
	return jobs.Task{}
}

func TestBatchSkipsWhatTheVersionHasDone(t *testing.T) {
	e := &painter{version: "v1"}
	studies := phantoms(t, 4, 1)
	s := openPainted(t, studies, e)
	q := s.Tasks().Batch
	for _, tt := range []struct {
		what, body string
		before     func()
		runs       int
		account    string
	}{
		{"everything", `{}`, nil, 4, "4 of 4 images: 4 segmented, 0 skipped, 0 failed"},
		{"again", `{"images":"all"}`, nil, 0, "4 of 4 images: 0 segmented, 4 skipped, 0 failed"},
		{"when told so", `{"again":true,"images":"labeled"}`, nil, 1, "1 of 1 images: 1 segmented"},
		{"another tag", `{"label_tag":"draft","images":["phantom_0002"]}`, nil, 1, "1 of 1 images: 1 segmented"},
		{"a person's label", `{"label_tag":"final","images":["phantom_0001"]}`, nil, 0, "0 segmented, 1 skipped"},
		{"the first two", `{"max_batch_size":2}`, func() { e.set("v2", nil) }, 2, "2 of 2 images: 2 segmented"},
		{"the other two of a new version", `{}`, nil, 2, "4 of 4 images: 2 segmented, 2 skipped"},
		{"an image that changed", `{}`, func() {
			later := time.Now().Add(time.Hour)
			if err := os.Chtimes(filepath.Join(studies, phantom.Name(3)), later, later); err != nil {
				t.Fatal(err)
			}
		}, 1, "1 segmented, 3 skipped"},
		{"nothing kept", `{"save_label":false,"images":"unlabeled"}`, nil, 3, "3 of 3 images: 3 segmented"},
	} {
		if tt.before != nil {
			tt.before()
		}
		before := e.count()
		task := s.batchEnded(q, tt.body)
		if got := e.count() - before; task.Status != jobs.Done || got != tt.runs || !has(task, tt.account) {
			t.Errorf("%s: %d inferences, want %d; %s %q", tt.what, got, tt.runs, task.Status, task.Details)
		}
	}
	img, err := s.store.Image("phantom_0004")
	if err != nil {
		t.Fatal(err)
	}
	l, ok := img.Label("original")
	if !ok || l.Info.String("model") != "hippocampus" || l.Info.String(infoVersion) != "v2" || l.Info.Sub("params").Sub("label_names").Len() != 2 {
		t.Errorf("label %+v", l)
	}
}

// TestBatchGoesOnWithoutTheBadImage names an image that cannot be read; only
// when none can be segmented is the task an error.
func TestBatchGoesOnWithoutTheBadImage(t *testing.T) {
	e := &painter{version: "v1", hook: func(_ context.Context, run int) error {
		if run == 2 {
			return fmt.Errorf("strange voxels")
		}
		return nil
	}}
	s := openPainted(t, phantoms(t, 4, 0), e)
	task := s.batchEnded(s.Tasks().Batch, `{"images":["phantom_0001","phantom_0002","none","phantom_0003"]}`)
	if task.Status != jobs.Done || !has(task, "4 of 4 images: 2 segmented, 0 skipped, 2 failed") || !has(task, "phantom_0002: it failed") || !has(task, "none: ") {
		t.Errorf("%s %q", task.Status, task.Details)
	}
	if task = s.batchEnded(s.Tasks().Batch, `{"images":["none","nothing"]}`); task.Status != jobs.Failed || !has(task, "none of 2 images") {
		t.Errorf("%s %q", task.Status, task.Details)
	}
	for body, want := range map[string]string{
		`{"images":"some"}`: "images must be", `{"images":[1]}`: "images must hold ids", `{"images":7}`: "images must be", `{"max_batch_size":-1}`: "max_batch_size",
		`{"images":["../x"]}`: "slash", `{"sw_overlap":7}`: "sw_overlap", `{"model":"none"}`: "no model",
	} {
		if task := s.batchEnded(s.Tasks().Batch, body); task.Status != jobs.Failed || !has(task, want) {
			t.Errorf("%s: %s %q", body, task.Status, task.Details)
		}
	}
}

// TestBatchYields waits while a person's inference is under way, has never more
// than one of its own in the engine, and ends when it is stopped.
func TestBatchYields(t *testing.T) {
	person, release := make(chan struct{}), make(chan struct{})
	e := &painter{version: "v1"}
	e.hook = func(_ context.Context, run int) error {
		if run == 1 { // the person's
			close(person)
			<-release
		}
		return nil
	}
	s := openPainted(t, phantoms(t, 3, 0), e)
	var wg sync.WaitGroup
	wg.Go(func() {
		r, err := s.Infer(context.Background(), InferRequest{Model: "hippocampus", Image: "phantom_0001", NoFile: true})
		if err != nil {
			t.Error(err)
		}
		r.Close()
	})
	<-person
	q := s.Tasks().Batch
	first, err := q.Start(ordered.Of("model", "hippocampus"), false)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if r, ok := q.Running(); !ok || r.ID != first.ID || e.count() != 1 {
		t.Errorf("beside a person's inference the batch has begun %d", e.count()-1)
	}
	close(release)
	wg.Wait()
	if done := s.awaitEnd(q, first.ID); done.Status != jobs.Done || e.count() != 4 || e.most != 1 {
		t.Errorf("%s, %d inferences, %d at once", done.Status, e.count(), e.most)
	}
	began := make(chan struct{})
	e.set("v2", func(ctx context.Context, run int) error {
		if run == 6 {
			close(began)
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	})
	if _, err := q.Start(ordered.Of("model", "hippocampus"), false); err != nil {
		t.Fatal(err)
	}
	<-began
	stopped, ok := q.Stop(t.Context())
	if !ok || stopped.Status != jobs.Stopped || e.count() != 6 {
		t.Errorf("%v %+v, %d inferences", ok, stopped, e.count())
	}
}

// TestBatchIsPatientForAWhile takes a turn when people never stop asking.
func TestBatchIsPatientForAWhile(t *testing.T) {
	s := openPainted(t, phantoms(t, 1, 0), &painter{version: "v1"})
	s.background.patience = 20 * time.Millisecond
	if err := s.gate.enter(); err != nil { // somebody who never leaves
		t.Fatal(err)
	}
	defer s.gate.leave()
	if task := s.batchEnded(s.Tasks().Batch, `{}`); task.Status != jobs.Done || !has(task, "1 segmented") {
		t.Errorf("%s %q", task.Status, task.Details)
	}
}

// TestBatchGoesOnAfterARestart does only what is left, under the same id.
func TestBatchGoesOnAfterARestart(t *testing.T) {
	studies := phantoms(t, 5, 0)
	third := make(chan struct{})
	e := &painter{version: "v1", hook: func(ctx context.Context, run int) error {
		if run == 3 {
			close(third)
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}}
	s := openPainted(t, studies, e)
	begun, err := s.Tasks().Batch.Start(ordered.Of("model", "hippocampus"), false)
	if err != nil {
		t.Fatal(err)
	}
	<-third
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	e2 := &painter{version: "v1"}
	s = openPainted(t, studies, e2)
	done := s.awaitEnd(s.Tasks().Batch, begun.ID)
	if done.Status != jobs.Done || e2.count() != 3 || !has(done, "5 of 5 images: 3 segmented, 2 skipped, 0 failed") || !has(done, "taken up again") {
		t.Errorf("%d inferences, %s %q", e2.count(), done.Status, done.Details)
	}
}

// TestYield gives way to a person, unless it is firm.
func TestYield(t *testing.T) {
	for _, task := range []bool{true, false} {
		testYield(t, task)
	}
}

func testYield(t *testing.T, task bool) {
	t.Helper()
	g := &gate{limit: 5}
	b := newBackground(g)
	yield := b.yieldSpare
	if task {
		yield = b.yield
	}
	rounds := 0
	work := func(ctx context.Context) error {
		rounds++
		if err := g.enter(); err != nil {
			return err
		}
		defer g.leave()
		return ctx.Err()
	}
	if gave, err := yield(t.Context(), false, work); !gave || err == nil || rounds != 1 {
		t.Errorf("gave way %v: %v", gave, err)
	}
	if gave, err := yield(t.Context(), true, work); gave || err != nil || rounds != 2 {
		t.Errorf("gave way %v: %v", gave, err)
	}
	if gave, err := yield(t.Context(), false, func(context.Context) error { return os.ErrNotExist }); gave || err != os.ErrNotExist { //nolint:errorlint // the very one
		t.Errorf("gave way %v: %v", gave, err)
	}
	if b.gate.preempt.Load() != nil {
		t.Error("the gate still tells somebody")
	}
}

func TestBatchDetails(t *testing.T) {
	b := &batchRun{total: 10, left: 6, done: 3, skipped: 1, took: 6 * time.Second}
	if got := b.account(); got != "4 of 10 images: 3 segmented, 1 skipped, 0 failed; 0:00:12 left" {
		t.Error(got)
	}
	app := &App{selection: &selection{model: "m"}}
	if _, err := chooseScoring(File{Scoring: []string{"dice", "none"}}, app.builtinScoring()); err == nil || !strings.Contains(err.Error(), "scoring[1]") {
		t.Error(err)
	}
	if m, err := chooseScoring(File{Scoring: []string{"sum"}}, app.builtinScoring()); err != nil || len(m) != 1 || m[0].name != "sum" {
		t.Error(m, err)
	}
	if !slices.Equal((&App{scoring: app.builtinScoring()}).ScoringMethods(), []string{"dice", "sum", "m_epistemic"}) {
		t.Error("the methods and their order")
	}
}
