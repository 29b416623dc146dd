package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/demo"
	"github.com/voxloop/voxloop/internal/phantom"
)

// hastyLoop trains for two seconds, again and again. What it makes of that is
// judged, or published at once.
const hastyLoop = `
models: {put: gate, trained: %s}
training: {candidates: 3}
loop:
  minutes: 0.03
  config: %s
  cron: ["@every 1s"]
  need_labels: false
  debounce: 0s
  cool_down: 0s
  holdout: {share: 0.25, least: 5}
  gate: {level: 0.49, margin: 0.5, slower: 20}
`

// killed is a loop that is killed again and again, and what has been seen of
// its versions.
type killed struct {
	t     *testing.T
	f     demo.Folder
	s     *server
	begun time.Time           // of the present server
	says  map[string][32]byte // a version's answer about the first image
	held  []string            // subjects held out
	now   string              // in service, as seen last
}

// TestKillDuringLoop kills the server with SIGKILL at random moments of its
// loop: while it trains, judges, publishes, swaps. VOXLOOP_LOOP_KILLS sets how
// often. Every time a complete version serves that says what it said before, and
// the loop goes on from where it was.
func TestKillDuringLoop(t *testing.T) {
	kills := count(t, "VOXLOOP_LOOP_KILLS", 3)
	f, err := demo.Prepare(t.Context(), t.TempDir(), 12, 7)
	if err != nil {
		t.Fatal(err)
	}
	labels := filepath.Join(f.Studies, "labels", "final")
	if err := os.MkdirAll(labels, 0o750); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 12; i++ {
		if err := os.Rename(filepath.Join(f.Studies, phantom.TruthDir, phantom.Name(i)), filepath.Join(labels, phantom.Name(i))); err != nil {
			t.Fatal(err)
		}
	}
	k := &killed{t: t, f: f, says: map[string][32]byte{}}
	moments := []struct {
		name, trained string
		wait          func()
		then          time.Duration // at most
	}{
		{"training", "gate", k.training, 2 * time.Second},
		{"publish", "publish", func() { k.appears("models/small/*/version.json") }, 300 * time.Millisecond},
		{"swap", "publish", func() { k.appears("models/small/service.json") }, 50 * time.Millisecond},
		{"gate", "gate", func() { k.appears("models/small/*/version.json") }, 800 * time.Millisecond},
		{"verdict", "gate", func() { k.appears("loop/verdicts/small/*.json") }, 300 * time.Millisecond},
		{"any", "publish", func() {}, 6 * time.Second},
	}
	for n := range kills {
		m := moments[n%len(moments)]
		k.start(m.trained)
		m.wait()
		time.Sleep(time.Duration(rand.Int64N(int64(m.then))))
		k.s.kill()
		if t.Failed() {
			t.Fatalf("before kill %d (%s)", n+1, m.name)
		}
	}
	k.start("gate")
	k.appears("loop/verdicts/small/*.json")
	if len(k.says) < 2 {
		t.Errorf("%d versions served in %d runs: the test proves nothing", len(k.says), kills+1)
	}
	t.Logf("%d kills; %d versions served, %d were judged", kills, len(k.says), len(k.s.verdicts()))
}

// start starts a server and looks at what it makes of the folder.
func (k *killed) start(trained string) {
	k.t.Helper()
	if err := os.WriteFile(k.f.Config, fmt.Appendf(nil, hastyLoop, trained, filepath.Join(k.f.App, "training.yaml")), 0o600); err != nil {
		k.t.Fatal(err)
	}
	k.begun = time.Now()
	k.s = launch(k.t, k.f.Studies, "--app", k.f.App, "--config", k.f.Config)
	k.s.waitReady()
	k.s.must(200, "GET", "/readyz?models=1", nil, nil)
	k.whole()
	k.judgements()
	litter, err := filepath.Glob(filepath.Join(k.f.Studies, ".voxloop", "models", "small", ".*"))
	if err != nil || len(litter) > 0 {
		k.t.Errorf("litter %v, %v", litter, err)
	}
}

// whole checks the version in service and every one that is stored.
func (k *killed) whole() {
	k.t.Helper()
	a := k.s.must(200, "POST", "/infer/small?output=image&image=phantom_0001", nil, nil)
	v, sum := a.header.Get("X-Model-Version"), sha256.Sum256(a.body)
	if before, ok := k.says[v]; ok && before != sum {
		k.t.Errorf("version %s says something else than before", v)
	}
	k.says[v], k.now = sum, v
	var all struct{ Versions []listed }
	if err := json.Unmarshal(k.s.must(200, "GET", "/model/small/versions", nil, nil).body, &all); err != nil {
		k.t.Fatal(err)
	}
	for _, x := range all.Versions {
		if strings.Contains(x.Why, "damaged") || strings.Contains(x.Why, "cannot") {
			k.t.Errorf("%+v", x)
		}
	}
	a, err := k.s.raw("GET", "/train/?all=true", nil, nil)
	if err != nil || a.status == 404 {
		return // none yet
	}
	var tasks []trainTask
	if err := json.Unmarshal(a.body, &tasks); err != nil {
		k.t.Fatal(err)
	}
	tasks = slices.DeleteFunc(tasks, func(x trainTask) bool { return x.Status != "SUBMITTED" && x.Status != "RUNNING" })
	if len(tasks) > 1 {
		k.t.Errorf("%d trainings at once: %+v", len(tasks), tasks)
	}
}

// judgements reads what the loop keeps: it is whole, and nobody who was held out
// is let go.
func (k *killed) judgements() {
	k.t.Helper()
	dir := filepath.Join(k.f.Studies, ".voxloop", "loop")
	files, err := filepath.Glob(filepath.Join(dir, "verdicts", "small", "*.json"))
	if err != nil {
		k.t.Fatal(err)
	}
	for _, f := range append(files, filepath.Join(dir, "schedule.json"), filepath.Join(dir, "holdout.json")) {
		data, err := os.ReadFile(f)
		if os.IsNotExist(err) {
			continue // not written yet
		}
		var v struct{ Held []string }
		if err == nil {
			err = json.Unmarshal(data, &v)
		}
		if err != nil {
			k.t.Errorf("%s: %v", filepath.Base(f), err)
		}
		if filepath.Base(f) != "holdout.json" {
			continue
		}
		for _, subject := range k.held {
			if !slices.Contains(v.Held, subject) {
				k.t.Errorf("%s is no longer held out", subject)
			}
		}
		k.held = v.Held
	}
}

// training waits until one makes steps.
func (k *killed) training() {
	k.t.Helper()
	k.within("a training", func() bool {
		a, err := k.s.raw("GET", "/train/?check_if_running=true", nil, nil)
		if err != nil || a.status != 200 {
			return false
		}
		return atWork(k.s.task(a))
	})
}

// appears waits until a file of the state that the present server has written
// appears.
func (k *killed) appears(pattern string) {
	k.t.Helper()
	k.within(pattern, func() bool {
		files, err := filepath.Glob(filepath.Join(k.f.Studies, ".voxloop", filepath.FromSlash(pattern)))
		if err != nil {
			k.t.Fatal(err)
		}
		return slices.ContainsFunc(files, func(f string) bool {
			info, err := os.Stat(f)
			return err == nil && info.ModTime().After(k.begun)
		})
	})
}

func (k *killed) within(what string, ok func() bool) {
	k.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			k.t.Fatalf("the loop does not go on: no %s within two minutes\n%s", what, k.s.must(200, "GET", "/loop/", nil, nil).body)
		}
	}
}
