package apps

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/trainers"
)

func TestLoopOptionsAreChecked(t *testing.T) {
	for want, o := range map[string]LoopOptions{
		"loop.minutes":         {Minutes: -1},
		"loop.holdout.share":   {HoldOut: HoldOutOptions{Share: 0.6}},
		"loop.holdout.least":   {HoldOut: HoldOutOptions{Least: -1}},
		"loop.holdout.subject": {HoldOut: HoldOutOptions{Subject: "("}},
		"batch":                {Config: trainers.Config{Batch: -1}},
	} {
		if _, err := o.check(); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestSubjects(t *testing.T) {
	for _, tt := range []struct{ pattern, id, info, want string }{
		{"", "a_1", `{}`, "a_1"},
		{"", "a_1", `{"subject": "s"}`, "s"},
		{"", "a_1", `{"PatientID": "p"}`, "p"},
		{"", "a_1", `{"PatientID": "p", "subject": "s"}`, "s"},
		{"^[a-z]+", "ab_1", `{}`, "ab"},
		{"^(sub-[0-9]+)_", "sub-07_ses-2", `{}`, "sub-07"},
		{"^(sub-[0-9]+)_", "other", `{}`, "other"},
		{"^x?", "other", `{}`, "other"},
	} {
		r, err := LoopOptions{HoldOut: HoldOutOptions{Subject: tt.pattern}}.check()
		if err != nil {
			t.Fatal(err)
		}
		info, err := ordered.Parse([]byte(tt.info))
		if err != nil {
			t.Fatal(err)
		}
		if got := r.subject(tt.id, info); got != tt.want {
			t.Errorf("%q with %q and %s: %q, want %q", tt.id, tt.pattern, tt.info, got, tt.want)
		}
	}
}

func TestHoldOutSurvivesARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), holdOutFile)
	open := func(share float64) (*holdOut, error) {
		r, err := LoopOptions{HoldOut: HoldOutOptions{Share: share}}.check()
		if err != nil {
			t.Fatal(err)
		}
		return openHoldOut(path, r, slog.New(slog.DiscardHandler))
	}
	h, err := open(0.25)
	if err != nil {
		t.Fatal(err)
	}
	h.state.Held = []string{"b"}
	train, held := h.split([]trainers.Case{{ID: "1", Subject: "a"}, {ID: "2", Subject: "b"}, {ID: "3", Subject: "c"}})
	if len(train) != 2 || len(held) != 1 || held[0].ID != "2" {
		t.Fatalf("train %v, held %v", train, held)
	}
	if err := h.trained(train); err != nil {
		t.Fatal(err)
	}
	if c := h.corrected([]trainers.Case{{ID: "2", LabelSum: "x"}}); c != nil {
		t.Errorf("corrected at the first look: %v", c)
	}
	again, err := open(0.4)
	if err != nil || again.state.Share != 0.25 || !slices.Equal(again.state.Held, []string{"b"}) || !slices.Equal(again.state.Trained, []string{"a", "c"}) {
		t.Fatalf("%+v, %v", again, err)
	}
	if c := again.corrected([]trainers.Case{{ID: "2", LabelSum: "y"}, {ID: "4", LabelSum: "z"}}); !slices.Equal(c, []string{"2"}) {
		t.Errorf("corrected %v", c)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(0.25); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a damaged hold-out: %v", err)
	}
}

func TestMeasures(t *testing.T) {
	row := func(v ...uint16) *imaging.LabelMap {
		return &imaging.LabelMap{Grid: imaging.Grid{Size: [3]int{len(v), 1, 1}, Affine: imaging.Affine{{2, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}}}, Data: v}
	}
	classes := []infer.CaseClass{{Name: "one", Value: 1}, {Name: "two", Value: 2}, {Name: "three", Value: 3}}
	m, err := measures(t.Context(), row(0, 1, 1, 0, 2), row(0, 1, 1, 1, 0), classes)
	if err != nil {
		t.Fatal(err)
	}
	if len(m) != 2 || m["one"].Dice != 0.8 || m["two"].Dice != 0 || m["two"].HD95 != nil {
		t.Errorf("%+v", m)
	}
	if h := m["one"].HD95; h == nil || *h <= 0 || *h > 2 {
		t.Errorf("HD95 of a surface one voxel of 2 mm away: %v", h)
	}
}
