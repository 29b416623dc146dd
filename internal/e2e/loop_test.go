package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/demo"
)

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

// TestLoop runs `voxloop demo`: the whole loop from zero labels, over HTTP. An
// annotator labels what the server asks for, cron retrains, the gate publishes
// until the held-out Dice is above 0.9, a harmed candidate is refused, a rollback
// works. Then another server on the same folder tells of all that.
func TestLoop(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), binary(t), "demo", "--dir", dir)
	cmd.Env = append(os.Environ(), "CI=true")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, tail(string(out), 6000))
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	t.Log(lines[len(lines)-1])
	var published, refused, rollback int
	var dice float64
	if _, err := fmt.Sscanf(lines[len(lines)-1], "published=%d refused=%d holdout_dice=%f rollback_ms=%d", &published, &refused, &dice, &rollback); err != nil {
		t.Fatalf("%v: %s", err, lines[len(lines)-1])
	}
	if published < 1 || refused < 1 || dice < 0.9 || rollback > 1000 {
		t.Errorf("%s", lines[len(lines)-1])
	}
	f := demo.In(dir)
	s := launch(t, f.Studies, "--app", f.App, "--config", f.Config)
	s.waitReady()
	s.must(200, "GET", "/readyz?models=1", nil, nil)
	passed, harmed := 0, false
	for _, v := range s.verdicts() {
		if v.Verdict.Pass {
			passed++
		} else {
			harmed = harmed || strings.HasPrefix(v.Verdict.Reason, "no class worse")
		}
	}
	if !harmed || passed < published {
		t.Errorf("%d versions passed, %d were published, a harmed candidate was judged: %v; %+v", passed, published, harmed, s.verdicts())
	}
	if v := s.inService(); !strings.Contains(lines[len(lines)-2], "version "+v[:8]+" serves again") {
		t.Errorf("%s is in service after a restart: %s", v, lines[len(lines)-2])
	}
	s.checkHoldOut(f.Studies)
	s.status()
}

// status asks with the command.
func (s *server) status() {
	s.t.Helper()
	out, err := exec.Command(binary(s.t), "loop", "status", "--server", "http://"+s.addr).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "next run") || !strings.Contains(string(out), "no class worse") || !strings.Contains(string(out), "held out") {
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
