package server

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/internal/testkit"
)

// valve holds back the inferences of an engine while it is shut.
type valve struct {
	mu   sync.Mutex
	shut chan struct{} // nil: open
	held chan struct{} // gets an element for everyone who is held back
}

func newValve() *valve { return &valve{held: make(chan struct{}, 100)} }

// pass is an engine's block.
func (v *valve) pass(ctx context.Context) error {
	v.mu.Lock()
	shut := v.shut
	v.mu.Unlock()
	if shut == nil {
		return nil
	}
	v.held <- struct{}{}
	select {
	case <-shut:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hold shuts the valve with somebody's inference in it. open lets it go on and
// waits for its answer.
func (v *valve) hold(s *live, model string) (open func()) {
	v.mu.Lock()
	shut := make(chan struct{})
	v.shut = shut
	v.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { s.do("POST", "/infer/"+model+"?image=hippocampus_051&output=json", nil, nil) })
	<-v.held
	return func() {
		v.mu.Lock()
		v.shut = nil
		v.mu.Unlock()
		close(shut)
		wg.Wait()
	}
}

// jobsApp is the app of the recordings 221 to 251, with a model without a
// network that the valve can hold back.
func jobsApp(t *testing.T, v *valve, change func(*apps.Options)) *apps.App {
	t.Helper()
	return testApp(t, func(o *apps.Options) {
		e := newThresholds("unet_hippo")
		e.info.Version, e.block = "v1", v.pass
		o.FS = fstest.MapFS{
			"app.yaml": {Data: []byte("name: Bench\nversion: '1'\nmodels:\n  - path: unet_hippo\nscoring: [dice, sum]\n")}, "unet_hippo/model.onnx": {Data: []byte("x")},
		}
		o.Engine = e
		if change != nil {
			change(o)
		}
	})
}

// await waits until the latest task of a path has a status.
func (s *live) await(path, status string) {
	s.t.Helper()
	var task *ordered.Map
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if task = s.must(200, "GET", path, nil, nil).object(s.t); task.String("status") == status {
			return
		}
	}
	s.t.Fatalf("the task never was %s: %s", status, marshal(s.t, task))
}

// TestReplayOfTheJobRecordings is TestReplayOfTheRecordings for scoring and
// batch inference, 221 to 240, and the deletions afterwards, 249 to 251. Tasks
// are held back by somebody's inference where the recording shows one running.
// What a task writes into its details is its own business.
func TestReplayOfTheJobRecordings(t *testing.T) {
	v := newValve()
	app := jobsApp(t, v, nil)
	s := serve(t, app, Options{})
	known := documented(t)
	for _, method := range []string{"dice", "sum", "dice"} { // what the reference runs at its start and after a training
		s.must(200, "POST", "/scoring/"+method, nil, nil)
		s.await("/scoring/", "DONE")
	}
	open := func() {}
	before := map[string]func(){
		"222": func() { open = v.hold(s, "unet_hippo") },
		"223": func() { s.await("/scoring/", "RUNNING") },
		"225": func() { open(); s.await("/scoring/", "DONE") },
		"226": func() { open = v.hold(s, "unet_hippo") },
		"227": func() { open(); s.await("/scoring/", "DONE") },
		"232": func() { open = v.hold(s, "unet_hippo") },
		"233": func() { s.await("/batch/infer", "RUNNING") },
		"235": func() { open(); s.await("/batch/infer", "DONE") },
		"229": func() { s.await("/scoring/", "ERROR") },
	}
	files, err := filepath.Glob(filepath.Join(testkit.Shared(t, "golden", "protocol"), "2[0-9][0-9]-*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	replayed := 0
	for _, f := range files {
		number := filepath.Base(f)[:3]
		if number < "221" || number > "240" && number < "249" {
			continue
		}
		replayed++
		if fn := before[number]; fn != nil {
			fn()
		}
		r := parseRecording(t, number, f)
		h, body := r.request(t)
		a := s.do(r.method, r.path, h, body)
		r.body, a.body = told(withoutChance(t, r.body)), []byte(told(withoutChance(t, string(a.body))))
		var c comparison
		c.compare(r, a, app.StudiesDir())
		if got, want := c.kinds(), known[number]; got != want {
			t.Errorf("%s %s %s: differs in %q, documented %q\n  %s\n  got %d %.1500s", number, r.method, r.path, got, want,
				strings.Join(c.found, "\n  "), a.status, a.body)
		}
	}
	if replayed != 23 {
		t.Errorf("%d recordings, want 23", replayed)
	}
}

// told takes details without lines for some.
func told(body string) string { return strings.ReplaceAll(body, `"details":[]`, `"details":["lines"]`) }

// TestScoringMethods are told to clients, compute what they say, and those of
// an app are started together.
func TestScoringMethods(t *testing.T) {
	s := serve(t, jobsApp(t, newValve(), nil), Options{})
	if got := s.must(200, "GET", "/info/", nil, nil).object(t).Sub("scoring").Keys(); !slices.Equal(got, []string{"dice", "sum"}) {
		t.Errorf("/info/ lists %v", got)
	}
	js := map[string]string{"Content-Type": "application/json"}
	s.must(200, "POST", "/batch/infer/unet_hippo?images=labeled&run_sync=true", js, []byte(`{}`))
	dice := s.must(200, "POST", "/scoring/dice?run_sync=true", js, []byte(`{}`)).object(t)
	info := s.must(200, "GET", "/datastore/image/info?image=hippocampus_042", nil, nil).object(t)
	if d, ok := dice.Get("hippocampus_042"); dice.Len() != 2 || !ok || d != must1(info.Get("dice")) {
		t.Errorf("dice %s, info %s", marshal(t, dice), marshal(t, info))
	}
	same := s.must(200, "POST", "/scoring/dice?run_sync=true", js, []byte(`{"y_pred":"final"}`)).object(t)
	if d, _ := same.Get("hippocampus_044"); string(marshal(t, d)) != "1.0" {
		t.Errorf("a label against itself: %s", marshal(t, same))
	}
	all := s.must(200, "POST", "/scoring/?run_sync=true", js, []byte(`{"dice":{"y_pred":"final"}}`)).object(t)
	if d, _ := all.Sub("dice").Sub("result").Get("hippocampus_044"); string(marshal(t, d)) != "1.0" {
		t.Errorf("the part of the body under a method's name: %s", marshal(t, all))
	}
	if sum := all.Sub("sum").Sub("result").Sub("hippocampus_044"); strings.Join(sum.Keys(), " ") != "sum slices" {
		t.Errorf("sum %s", marshal(t, all))
	}
}

func must1(v any, _ bool) any { return v }
