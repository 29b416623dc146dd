package apps

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
)

// TestModelCard looks at the cards of the app's own version and of one that the
// gate published.
func TestModelCard(t *testing.T) {
	s := court(t, nil)
	own, err := s.ModelCard("hippocampus", "")
	if err != nil || !own.App || !own.InService || own.Training != nil || own.HoldOut != nil || len(own.Labels) != 2 || own.Labels[0] != (CardLabel{"anterior", 1}) {
		t.Errorf("%+v, %v", own, err)
	}
	for _, want := range []string{"was not trained here", "was not judged", "Not for diagnosis", "anterior (1), posterior (2)"} {
		if !strings.Contains(own.Markdown(), want) {
			t.Errorf("the card of the app's own version lacks %q:\n%s", want, own.Markdown())
		}
	}
	s.serve(biased(t, 0, -12, 0))
	v, published, err := s.offer(starting(t))
	if err != nil || !published {
		t.Fatalf("published %v, %v", published, err)
	}
	c, err := s.ModelCard("hippocampus", v.ID[:6])
	if err != nil || c.Version != v.ID || c.HoldOut == nil || !c.InService || c.Checksum == "" {
		t.Fatalf("%+v, %v", c, err)
	}
	j, _ := s.LastJudgement("hippocampus")
	if !c.HoldOut.Verdict.Pass || c.HoldOut.Verdict.Classes["anterior"] != j.Verdict.Classes["anterior"] || c.HoldOut.Cases != 6 {
		t.Errorf("%+v", c.HoldOut)
	}
	dir := s.versionDir("hippocampus", v.ID)
	text, err := os.ReadFile(filepath.Join(dir, "card.md"))
	if err != nil || !strings.Contains(string(text), "| Dice anterior | 0.8") || !strings.Contains(string(text), "**better**") {
		t.Errorf("%v\n%s", err, text)
	}
	var kept Card
	data, err := os.ReadFile(filepath.Join(dir, "card.json"))
	if err != nil || json.Unmarshal(data, &kept) != nil || kept.Version != v.ID || kept.HoldOut.Verdict.Mean != j.Verdict.Mean {
		t.Errorf("%v, %+v", err, kept)
	}
	for _, version := range []string{"none", "abc"} {
		if _, err := s.ModelCard("hippocampus", version); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s: %v", version, err)
		}
	}
	if _, err := s.PublishModel(t.Context(), "hippocampus", infer.AppVersion, infer.Cause{Origin: infer.OriginOperator}); err != nil {
		t.Fatal(err)
	}
}

// TestCardOfATraining reads what a trainer writes.
func TestCardOfATraining(t *testing.T) {
	got := cardTraining(json.RawMessage(`{"format":1,"parent":"p","data":"fp","cases":[{"id":"1","subject":"a","role":"train"},{"id":"2","subject":"a","role":"train"},
		{"id":"3","role":"validate"}],"config":{"seed":7},"batch":2,"patch":[8,9,10],"steps":30,"epochs":[{"epoch":1},{"epoch":2}],"seconds":61.4,"mean_dice":0.5,"dice":{"x":0.5}}`))
	if got == nil || got.Cases != 2 || got.Subjects != 1 || got.Validation != 1 || got.Epochs != 2 || got.Seed != 7 || got.Patch != [3]int{8, 9, 10} || got.Begun != "p" {
		t.Errorf("%+v", got)
	}
	if cardTraining(nil) != nil || cardTraining(json.RawMessage("{")) != nil {
		t.Error("a card of nothing")
	}
}
