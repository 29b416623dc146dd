package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/phantom"
)

const loopConfig = `
models: {put: gate, trained: gate}
loop:
  minutes: 0.3
  config: %s
  cron: ["@every 5s"]
  debounce: 0s
  cool_down: 0s
  holdout: {share: 0.25, least: 6}
`

const loopTraining = `
augment: none
optimizer: {rate: 5.0e-3}
schedule: {warm_up: 10}
val_split: -1
batch: 2
seed: 3
`

// loopServer serves a model that knows nothing on unlabelled phantoms, with a
// schedule that trains all the time.
func loopServer(t testing.TB, cases int) (s *server, studies string) {
	t.Helper()
	studies, app := t.TempDir(), t.TempDir()
	if err := phantom.WriteCases(t.Context(), studies, cases, 7); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(app, "small"), os.DirFS(smallModel(t))); err != nil {
		t.Fatal(err)
	}
	training := filepath.Join(app, "training.yaml")
	for name, text := range map[string]string{
		filepath.Join(app, "app.yaml"):    "name: loop\nmodels: [{name: small, path: small}]\n",
		training:                          loopTraining,
		filepath.Join(app, "server.yaml"): fmt.Sprintf(loopConfig, training),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = launch(t, studies, "--app", app, "--config", filepath.Join(app, "server.yaml"))
	s.waitReady()
	s.must(200, "GET", "/readyz?models=1", nil, nil)
	return s, studies
}

// annotate labels what the server asks for with the truth, n times or until
// nothing is left.
func (s *server) annotate(studies string, n int) {
	s.t.Helper()
	for range n {
		next := s.must(200, "POST", "/activelearning/random", sendsJSON, []byte(`{"client_id":"robot"}`)).json(s.t)
		id, ok := next["id"].(string)
		if !ok {
			return
		}
		truth, err := os.ReadFile(filepath.Join(studies, phantom.TruthDir, id+".nii.gz"))
		if err != nil {
			s.t.Fatal(err)
		}
		header, body := form(map[string]any{}, "label", id+".nii.gz", truth)
		s.must(200, "PUT", "/datastore/label?tag=final&image="+url.QueryEscape(id), header, body)
	}
}

// verdict is what is asked of /loop/verdicts.
type verdict struct {
	Version, Against string
	Verdict          struct {
		Pass   bool
		Reason string
		Mean   struct {
			Cases              int
			Candidate, Current float64
		} `json:"mean_dice"`
	}
	Candidate []struct{ ID string }
}

func (s *server) verdicts() []verdict {
	s.t.Helper()
	var v struct{ Verdicts []verdict }
	if err := json.Unmarshal(s.must(200, "GET", "/loop/verdicts/small", nil, nil).body, &v); err != nil {
		s.t.Fatal(err)
	}
	return v.Verdicts
}

func (s *server) inService() string {
	s.t.Helper()
	var v struct {
		Versions []struct {
			Version   string
			InService bool `json:"in_service"`
		}
	}
	a := s.must(200, "GET", "/model/small/versions", nil, nil)
	if err := json.Unmarshal(a.body, &v); err != nil {
		s.t.Fatal(err)
	}
	for _, x := range v.Versions {
		if x.InService {
			return x.Version
		}
	}
	s.t.Fatalf("no version is in service: %s", a.body)
	return ""
}

// TestLoop runs the whole loop from zero labels: an annotator labels what the
// server asks for, cron retrains, versions are published by the gate until the
// held-out Dice is above 0.9. A harmed candidate is refused, a rollback works.
func TestLoop(t *testing.T) {
	s, studies := loopServer(t, 24)
	first := s.inService()
	s.annotate(studies, 12)
	best, published := 0.0, map[string]bool{}
	for deadline := time.Now().Add(4 * time.Minute); best < 0.9; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("held-out Dice %.3f after %v: %+v\n%s", best, 4*time.Minute, s.verdicts(), s.must(200, "GET", "/loop/", nil, nil).body)
		}
		for _, v := range s.verdicts() {
			if v.Verdict.Pass {
				published[v.Version] = true
				best = max(best, v.Verdict.Mean.Candidate)
			}
		}
		s.annotate(studies, 1)
	}
	// The verdict is there a little before the new version serves.
	for deadline := time.Now().Add(time.Minute); !published[s.inService()]; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s is in service, not one of the published %v", s.inService(), published)
		}
	}
	if s.inService() == first {
		t.Error("the app's own version counts as published")
	}
	t.Logf("held-out Dice %.3f, %d versions published of %d judged", best, len(published), len(s.verdicts()))
	s.checkHoldOut(studies)
	s.status()
	s.must(200, "DELETE", "/train/", nil, nil)
	s.refusesHarm()
	if v := s.inService(); !published[v] {
		t.Errorf("%s is in service after the harmed candidate", v)
	}
	before := s.inService()
	back := s.must(200, "POST", "/model/small/rollback?reason=test", nil, nil).json(t)
	if v := s.inService(); v == before || back["version"] != v {
		t.Errorf("rollback gives %v; %s is in service, %s was", back, v, before)
	}
}

// status asks with the command.
func (s *server) status() {
	s.t.Helper()
	out, err := exec.Command(binary(s.t), "loop", "status", "--server", "http://"+s.addr).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "next run") || !strings.Contains(string(out), "better") || !strings.Contains(string(out), "held out") {
		s.t.Errorf("voxloop loop status: %v\n%s", err, out)
	}
}

// checkHoldOut looks into every candidate's record: no held-out case was
// trained on.
func (s *server) checkHoldOut(studies string) {
	s.t.Helper()
	held := map[string]bool{}
	for _, v := range s.verdicts() {
		for _, c := range v.Candidate {
			held[c.ID] = true
		}
	}
	if len(held) < 6 {
		s.t.Errorf("%d cases are held out", len(held))
	}
	records, err := filepath.Glob(filepath.Join(studies, ".voxloop", "candidates", "small", "*", "training.json"))
	if err != nil || len(records) == 0 {
		s.t.Fatalf("no record of a training: %v", err)
	}
	for _, name := range records {
		var r struct{ Cases []struct{ ID string } }
		data, err := os.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(data, &r)
		}
		if err != nil || len(r.Cases) == 0 {
			s.t.Fatalf("%s: %d cases, %v", filepath.Base(name), len(r.Cases), err)
		}
		for _, c := range r.Cases {
			if held[c.ID] {
				s.t.Errorf("%s is held out and was trained on", c.ID)
			}
		}
	}
}

// refusesHarm sends the network in service with one layer turned around.
func (s *server) refusesHarm() {
	s.t.Helper()
	m, err := onnx.Parse(s.must(200, "GET", "/model/small", nil, nil).body)
	if err != nil {
		s.t.Fatal(err)
	}
	harmed := 0
	for _, init := range m.Graph.Initializers {
		if v, err := init.Float32(); err == nil && len(init.Dims) == 5 && harmed == 0 {
			for i := range v {
				v[i] = -v[i] + float32(math.Sin(float64(i)))
			}
			m.Graph.SetInitializer(onnx.NewFloat32(init.Name, init.Dims, v))
			harmed++
		}
	}
	if harmed == 0 {
		s.t.Fatal("nothing to harm")
	}
	before := s.inService()
	header, body := form(map[string]any{}, "file", "small.onnx", m.Bytes())
	a := s.must(200, "PUT", "/model/small?reason=harmed", header, body).json(s.t)
	id, ok := a["candidate"].(string)
	if !ok || s.inService() != before {
		s.t.Errorf("the harmed network is answered %v; %s in service, %s before", a, s.inService(), before)
	}
	v := s.verdicts()[0]
	if v.Version != id || v.Verdict.Pass || !strings.HasPrefix(v.Verdict.Reason, "no class worse") {
		s.t.Errorf("%+v", v.Verdict)
	}
}
