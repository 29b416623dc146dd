package trainers

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
)

// ofSubjects are cases of so many subjects, every third with two images.
func ofSubjects(n int) []Case {
	var out []Case
	for i := range n {
		s := fmt.Sprintf("p%03d", i)
		out = append(out, Case{ID: s + "_a", Subject: s})
		if i%3 == 0 {
			out = append(out, Case{ID: s + "_b", Subject: s})
		}
	}
	return out
}

// sides returns the subjects that train and validate.
func sides(t *testing.T, cases []Case) (train, validate map[string]bool) {
	t.Helper()
	train, validate = map[string]bool{}, map[string]bool{}
	for _, c := range cases {
		switch c.Role {
		case Train:
			train[c.Subject] = true
		case Validate:
			validate[c.Subject] = true
		default:
			t.Fatalf("%s has role %q", c.ID, c.Role)
		}
	}
	for s := range train {
		if validate[s] {
			t.Fatalf("subject %s is on both sides", s)
		}
	}
	return train, validate
}

func TestFoldsAreEvenAndStable(t *testing.T) {
	for _, n := range []int{5, 7, 52} {
		cases := ofSubjects(n)
		seen := map[string]int{}
		for fold := range 5 {
			got, err := Fold(cases, fold, 5)
			if err != nil {
				t.Fatal(err)
			}
			train, validate := sides(t, got)
			if len(validate) < n/5 || len(validate) > (n+4)/5 || len(train)+len(validate) != n || len(got) != len(cases) {
				t.Errorf("%d subjects, fold %d: %d train, %d validate", n, fold, len(train), len(validate))
			}
			for s := range validate {
				seen[s]++
			}
			mixed := slices.Clone(cases)
			rand.New(rand.NewPCG(1, 2)).Shuffle(len(mixed), func(i, k int) { mixed[i], mixed[k] = mixed[k], mixed[i] })
			other, _ := Fold(mixed, fold, 5)
			for _, c := range other {
				if (c.Role == Validate) != validate[c.Subject] {
					t.Fatalf("another order of the cases puts %s elsewhere", c.ID)
				}
			}
		}
		if len(seen) != n {
			t.Errorf("%d of %d subjects validate in some fold", len(seen), n)
		}
		for s, k := range seen {
			if k != 1 {
				t.Errorf("%s validates in %d folds", s, k)
			}
		}
	}
	for _, bad := range [][2]int{{0, 1}, {5, 5}, {-1, 5}, {0, 6}} {
		if _, err := Fold(ofSubjects(5), bad[0], bad[1]); fault.KindOf(err) != fault.Invalid {
			t.Errorf("fold %d of %d: %v", bad[0], bad[1], err)
		}
	}
}

// What was decided stays: a hash that changed would mix training and
// validation of the models that exist.
func TestTheOrderOfSubjectsIsFixed(t *testing.T) {
	got := strings.Join(subjectsInOrder(ofSubjects(8)), " ")
	if want := "p006 p001 p004 p003 p005 p007 p002 p000"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestHoldOutShare(t *testing.T) {
	for _, tt := range []struct {
		n     int
		share float64
		want  int
	}{
		{1, 0.2, 0},
		{2, 0.2, 1},
		{3, 0.2, 1},
		{10, 0.2, 2},
		{12, 0.2, 2},
		{13, 0.2, 3},
		{2, 0.99, 1},
		{10, 0.001, 1},
		{10, -1, 0},
		{10, 0, 0},
	} {
		got, err := HoldOut(ofSubjects(tt.n), tt.share)
		if err != nil {
			t.Fatal(err)
		}
		if _, validate := sides(t, got); len(validate) != tt.want {
			t.Errorf("%g of %d subjects: %d validate, want %d", tt.share, tt.n, len(validate), tt.want)
		}
	}
	for _, bad := range []float64{1, math.NaN()} {
		if _, err := HoldOut(ofSubjects(3), bad); fault.KindOf(err) != fault.Invalid {
			t.Errorf("share %g: %v", bad, err)
		}
	}
	without := []Case{{ID: "a"}, {ID: "b"}} // no subjects: the ids
	got, _ := HoldOut(without, 0.5)
	if got[0].Role == got[1].Role || without[0].Role != "" {
		t.Errorf("%v from %v", got, without)
	}
}

func TestSplitFollowsTheConfiguration(t *testing.T) {
	cases := ofSubjects(10)
	for _, tt := range []struct {
		c    Config
		want int
	}{{Config{}, 2}, {Config{ValSplit: 0.5}, 5}, {Config{ValSplit: -1}, 0}, {Config{Folds: 5, Fold: 4}, 2}} {
		got, err := Split(cases, tt.c)
		if err != nil {
			t.Fatal(err)
		}
		if _, validate := sides(t, got); len(validate) != tt.want {
			t.Errorf("%+v: %d subjects validate, want %d", tt.c, len(validate), tt.want)
		}
	}
	if _, err := Split(nil, Config{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no cases: %v", err)
	}
}

func TestSplitsFromFiles(t *testing.T) {
	cases := []Case{{ID: "a"}, {ID: "b"}, {ID: "c"}, {ID: "d"}}
	for _, tt := range []struct {
		name, text string
		fold       int
		want       string // role by case; - left out
	}{
		{"nnU-Net", `[{"train": ["a", "b"], "val": ["c", "d"]}, {"train": ["c"], "val": ["a"]}]`, 0, "ttvv"},
		{"second fold", `[{"train": ["a", "b"], "val": ["c", "d"]}, {"train": ["c"], "val": ["a"]}]`, 1, "v-t-"},
		{"ids", `["b", "d"]`, 0, "tvtv"},
		{"text", "\ufeff# for validation\r\n b \r\n\r\nd\n", 0, "tvtv"},
	} {
		s, err := ParseSplits([]byte(tt.text))
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		got, left, err := s.Roles(cases, tt.fold)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		roles := map[string]string{}
		for _, c := range got {
			roles[c.ID] = map[Role]string{Train: "t", Validate: "v"}[c.Role]
		}
		for _, id := range left {
			roles[id] = "-"
		}
		var text string
		for _, c := range cases {
			text += roles[c.ID]
		}
		if text != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, text, tt.want)
		}
	}
}

func TestSplitsThatCannotBeUsed(t *testing.T) {
	for name, text := range map[string]string{
		"empty": " \n", "object": `{"train": ["a"]}`, "other key": `[{"train": ["a"], "test": ["b"]}]`, "no folds": `[]`,
		"both sides": `[{"train": ["a", "b"], "val": ["b"]}]`, "twice": "a\na\n", "no training": `[{"train": [], "val": ["a"]}]`,
		"more": `[{"train": ["a"], "val": ["b"]}] []`, "numbers": `[1, 2]`, "comments only": "# nothing\n",
	} {
		if _, err := ParseSplits([]byte(text)); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	cases := []Case{{ID: "a1", Subject: "a"}, {ID: "a2", Subject: "a"}, {ID: "b"}}
	for name, tt := range map[string]struct {
		text, want string
		fold       int
	}{
		"unknown id":   {`["zz"]`, `"zz"`, 0},
		"one subject":  {`["a1"]`, "subject a", 0},
		"no such fold": {`["b"]`, "no fold 1", 1},
	} {
		s, err := ParseSplits([]byte(tt.text))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Roles(cases, tt.fold); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
