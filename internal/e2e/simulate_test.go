package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/simulate"
)

// TestSimulate compares two strategies on phantoms, killed once on the way, and
// reads the report.
func TestSimulate(t *testing.T) {
	studies, model, out := labelledPhantoms(t, 8), smallModel(t), filepath.Join(t.TempDir(), "sim")
	args := []string{
		"simulate", "--studies", studies, "--model", model, "--strategies", "random,entropy", "--seeds", "1", "--start", "2", "--query", "1",
		"--rounds", "2", "--steps", "4", "--test", "0.2", "--pool", "3", "--set", "augment=none", "--out", out, "--device", "cpu",
	}
	first := exec.Command(binary(t), args...)
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(2 * time.Minute)
	for { // until the first strategy has begun
		if _, err := os.Stat(filepath.Join(out, "seed1", "start", "result.json")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("round 0 does not end")
		}
		time.Sleep(20 * time.Millisecond)
	}
	_ = first.Process.Kill()
	_ = first.Wait()
	var stdout, stderr bytes.Buffer
	second := exec.Command(binary(t), args...)
	second.Stdout, second.Stderr = &stdout, &stderr
	if err := second.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	if strings.Contains(stdout.String(), "round 0") || !strings.Contains(stdout.String(), "entropy against random: one seed tells nothing") {
		t.Errorf("output:\n%s", stdout.String())
	}
	var s struct {
		Analysis simulate.Analysis
		Rounds   []simulate.Round
	}
	data, err := os.ReadFile(filepath.Join(out, "summary.json"))
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil || !s.Analysis.Complete || len(s.Rounds) != 5 || len(s.Analysis.Curves) != 2 {
		t.Fatalf("%+v, %v", s, err)
	}
	for _, r := range s.Rounds {
		if r.Labelled != 2+r.Round || len(r.Test) != 1 || len(r.Test[0].Dice) != 2 {
			t.Errorf("%+v", r)
		}
		if r.Strategy == "entropy" && (r.Scored != 3 || !strings.Contains(r.Picks[0].Why, "entropy")) {
			t.Errorf("%+v", r)
		}
	}
	// What cannot work is told before anything is trained.
	args[6], args[len(args)-3] = "bald", out+"2"
	told, err := exec.Command(binary(t), args...).CombinedOutput()
	if err == nil || !strings.Contains(string(told), "strategy bald: the network has no dropout") {
		t.Errorf("%v: %s", err, told)
	}
	if _, err := os.Stat(out + "2"); err == nil {
		t.Error("a folder was made all the same")
	}
}
