package simulate

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/strategies"
)

// toy is an engine whose models know only what they were trained on: a model is
// worth more the larger the numbers of its images. It counts its work.
type toy struct {
	trained, tested, looked int
	fail                    int // the training that fails, from 1
	trainings               []Training
}

func (e *toy) Train(_ context.Context, t Training) (Trained, error) {
	e.trained++
	if e.trained == e.fail {
		return Trained{}, errors.New("the power went out")
	}
	e.trainings = append(e.trainings, t)
	if err := os.MkdirAll(t.Out, 0o750); err != nil {
		return Trained{}, err
	}
	data, err := json.Marshal(t.IDs)
	if err != nil {
		return Trained{}, err
	}
	steps := t.Steps
	if steps == 0 {
		steps = int(t.Minutes * 100)
	}
	return Trained{Version: fmt.Sprint("v", len(t.IDs)), Steps: steps}, os.WriteFile(filepath.Join(t.Out, "ids"), data, 0o600)
}

func (e *toy) Test(_ context.Context, model string, ids []string) ([]Score, error) {
	e.tested++
	data, err := os.ReadFile(filepath.Join(model, "ids"))
	if err != nil {
		return nil, err
	}
	var known []string
	if err := json.Unmarshal(data, &known); err != nil {
		return nil, err
	}
	var sum float64
	for _, id := range known {
		sum += number(id)
	}
	var out []Score
	for _, id := range ids {
		out = append(out, Score{ID: id, Dice: map[string]float64{"a": sum / 1000, "b": sum / 2000}})
	}
	return out, nil
}

func number(id string) (n float64) {
	_, _ = fmt.Sscanf(id, "p%f", &n)
	return n
}

func (e *toy) Look(_ context.Context, l Looking, put func(*strategies.Observation) error) error {
	for _, id := range l.IDs {
		e.looked++
		n := number(id)
		scores := map[strategies.Measure]float64{strategies.Entropy: n, strategies.Margin: n / 100}
		if l.Passes != strategies.SinglePass {
			scores[strategies.BALD] = 100 - n
		}
		ob := &strategies.Observation{
			Image: id, Model: l.Name, Version: l.Version, Passes: l.Passes, Count: 2, Scores: scores,
			Features: []float32{float32(n), 1}, Fingerprint: []float32{1, 2},
		}
		if err := put(ob); err != nil {
			return err
		}
	}
	return nil
}

func options() Options {
	o := Options{Strategies: []string{"random", "entropy", "bald"}, Seeds: 2, Start: 3, Query: 2, Rounds: 3, Steps: 7}
	for i := range 20 {
		o.PoolIDs = append(o.PoolIDs, fmt.Sprintf("p%02d", i))
	}
	for i := range 4 {
		o.TestIDs = append(o.TestIDs, fmt.Sprintf("t%d", i))
	}
	return o
}

func ids(p []Pick) (out []string) {
	for _, k := range p {
		out = append(out, k.ID)
	}
	return out
}

// TestRun: what is trained, on what, from what.
func TestRun(t *testing.T) {
	e, o, dir := &toy{}, options(), t.TempDir()
	_, rounds, err := Run(t.Context(), o, dir, e, func(Progress) {})
	if err != nil {
		t.Fatal(err)
	}
	if len(rounds) != o.Trainings() || e.trained != 2*(1+3*3) || e.tested != e.trained {
		t.Fatalf("%d rounds, %d trainings, %d tests", len(rounds), e.trained, e.tested)
	}
	for i, r := range rounds {
		tr := e.trainings[i]
		if r.Labelled != 3+2*r.Round || len(tr.IDs) != r.Labelled || len(r.Test) != 4 || tr.Steps != 7 || tr.Seed != r.Seed<<8+r.Round {
			t.Errorf("round %d: %+v, training %+v", i, r, tr)
		}
		if seen := slices.Compact(slices.Sorted(slices.Values(tr.IDs))); len(seen) != len(tr.IDs) || strings.Contains(strings.Join(seen, " "), "t") {
			t.Errorf("round %d trains on %v", i, tr.IDs)
		}
		switch {
		case r.Round == 0 && (!tr.Scratch || tr.From != ""):
			t.Errorf("round 0 begins from %q", tr.From)
		case r.Round == 1 && (tr.Scratch || tr.From != filepath.Join(dir, fmt.Sprintf("seed%d", r.Seed), "start", modelDir)):
			t.Errorf("round 1 begins from %q", tr.From)
		}
	}
	// entropy takes the largest numbers, bald the smallest; both only what is unlabelled.
	for _, r := range rounds {
		start := rounds[slices.IndexFunc(rounds, func(z Round) bool { return z.Seed == r.Seed && z.Round == 0 })]
		left := slices.DeleteFunc(slices.Clone(o.PoolIDs), func(id string) bool { return slices.Contains(ids(start.Picks), id) })
		if r.Round != 1 || r.Strategy == "random" {
			continue
		}
		// Of the best eight (four times the batch), diversity by features takes the best and the farthest from it and the labelled.
		best := left[len(left)-8:]
		if r.Strategy == "bald" {
			best = left[:8]
		}
		for _, id := range ids(r.Picks) {
			if !slices.Contains(best, id) {
				t.Errorf("%s, seed %d, chose %s of %v", r.Strategy, r.Seed, id, left)
			}
		}
	}
	// Nothing is played again.
	again := &toy{}
	if _, second, err := Run(t.Context(), o, dir, again, func(Progress) {}); err != nil || again.trained+again.looked != 0 || len(second) != len(rounds) {
		t.Errorf("a second run trains %d times, %v", again.trained, err)
	}
	o.Seeds = 3
	if _, more, err := Run(t.Context(), o, dir, again, func(Progress) {}); err != nil || again.trained != 10 || len(more) != 30 {
		t.Errorf("another seed: %d trainings, %d rounds, %v", again.trained, len(more), err)
	}
	o.Query = 1
	if _, _, err := Run(t.Context(), o, dir, again, func(Progress) {}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("another simulation in the same folder: %v", err)
	}
}

// TestResume: a run that fails at any place and goes on finds what one finds
// that nobody stopped.
func TestResume(t *testing.T) {
	o := options()
	o.Steps, o.Minutes, o.Look = 0, 0.5, 9
	whole := t.TempDir()
	after, want, err := Run(t.Context(), o, whole, &toy{}, func(Progress) {})
	if err != nil || after.Steps != 50 {
		t.Fatalf("%d steps, %v", after.Steps, err)
	}
	dir := t.TempDir()
	for at := 2; ; at++ {
		e := &toy{fail: at%3 + 1}
		_, rounds, err := Run(t.Context(), o, dir, e, func(Progress) {})
		if err == nil {
			if len(rounds) != len(want) {
				t.Fatalf("%d rounds instead of %d", len(rounds), len(want))
			}
			for i, r := range rounds {
				if !slices.Equal(ids(r.Picks), ids(want[i].Picks)) || r.Mean() != want[i].Mean() || r.Scored != want[i].Scored {
					t.Errorf("round %d: %v instead of %v", i, r.Picks, want[i].Picks)
				}
			}
			break
		}
		if at > 100 {
			t.Fatal("it does not end")
		}
	}
	// What is offered is the same for all strategies of a round as far as they
	// have it unlabelled; the last model stays, the others go.
	for _, r := range want {
		if r.Round > 0 && r.Strategy != "random" && r.Scored != 9 {
			t.Errorf("%s round %d looked at %d images", r.Strategy, r.Round, r.Scored)
		}
	}
	for k := 1; k <= 3; k++ {
		_, err := os.Stat(filepath.Join(dir, "seed1", "bald", fmt.Sprintf("round%d", k), modelDir))
		if (err == nil) != (k == 3) {
			t.Errorf("model of round %d: %v", k, err)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for want, change := range map[string]func(*Options){
		`no strategy "best"`:        func(o *Options) { o.Strategies = []string{"best"} },
		"named twice":               func(o *Options) { o.Strategies = []string{"bald", "bald"} },
		"no strategy is named":      func(o *Options) { o.Strategies = nil },
		"rounds must be at least 1": func(o *Options) { o.Rounds = 0 },
		"neither steps nor minutes": func(o *Options) { o.Steps = 0 },
		"no image is kept":          func(o *Options) { o.TestIDs = nil },
		"the pool has 20":           func(o *Options) { o.Query = 9 },
		"are to be chosen":          func(o *Options) { o.Look = 1 },
	} {
		o := options()
		change(&o)
		if _, _, err := Run(t.Context(), o, t.TempDir(), &toy{}, func(Progress) {}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%v instead of %q", err, want)
		}
	}
}

// played makes a round with a given Dice.
func played(strategy string, seed, round, labelled int, dice float64) Round {
	return Round{
		Strategy: strategy, Seed: seed, Round: round, Labelled: labelled,
		Test: []Score{{ID: "t", Dice: map[string]float64{"a": dice + 0.1, "b": dice - 0.1}}},
	}
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

// TestAnalyse against numbers worked out by hand.
func TestAnalyse(t *testing.T) {
	var rounds []Round
	for seed := 1; seed <= 3; seed++ {
		s := 0.01 * float64(seed)
		rounds = append(rounds, played("", seed, 0, 10, 0.5+s))
		for k, d := range []float64{0.6, 0.7} {
			rounds = append(rounds, played("random", seed, k+1, 20+10*k, d+s))
		}
		for k, d := range []float64{0.7, 0.75} {
			rounds = append(rounds, played("bald", seed, k+1, 20+10*k, d+s+0.001*float64(seed)))
		}
	}
	a := Analyse([]string{"random", "bald"}, rounds)
	if a.Seeds != 3 || !a.Complete || len(a.Curves) != 2 || len(a.Pairs) != 1 {
		t.Fatalf("%+v", a)
	}
	r, b := a.Curves[0], a.Curves[1]
	if !near(r.Area.Mean, (0.55+0.65)/2+0.02) || !near(b.Points[2].Dice.Mean, 0.772) || !near(b.Points[1].Classes["b"].Mean, 0.622) {
		t.Errorf("random %+v, bald %+v", r.Area, b.Points)
	}
	// s = 0.01, n = 3: t = 4.3027.
	if half := 4.3027 * 0.01 / math.Sqrt(3); !near(r.Points[0].Dice.High, 0.52+half) || !near(r.Points[0].Dice.Low, 0.52-half) {
		t.Errorf("interval %+v", r.Points[0].Dice)
	}
	p := a.Pairs[0]
	// Over the first half bald is 0.05 better on average, over the second 0.075, and by 0.001 a seed times 3/4.
	if p.Strategy != "bald" || p.Against != "random" || !near(p.Area.Mean, 0.0625+0.75*0.002) || p.Verdict != "better" || !near(p.Final.Mean, 0.052) {
		t.Errorf("%+v", p)
	}
	// random ends at 0.72; bald at 0.772, which random never reaches: it spent all 30, bald needed 30.
	if !p.Saved.AtLeast || !near(p.Saved.Labels, 0) {
		t.Errorf("saved %+v", p.Saved)
	}
	back := pairOf(r, b)
	// random's final 0.72 lies on bald's way from 0.52 at 10 to 0.722 at 20.
	if want := 10 + 10*(0.72-0.52)/(0.722-0.52) - 30; back.Saved.AtLeast || !near(back.Saved.Labels, want) || back.Verdict != "worse" {
		t.Errorf("the other way round: %+v, want %g", back.Saved, want)
	}
	if a.Penalties[1][0] != 1 || a.Penalties[0][1] != 0 || a.Penalties[0][0] != 0 {
		t.Errorf("penalties %v", a.Penalties)
	}
	if a.Ranking()[0].Strategy != "bald" {
		t.Errorf("ranking %v", a.Ranking())
	}
	if !strings.Contains(p.Sentence(), "bald is better than random") {
		t.Error(p.Sentence())
	}
}

// A difference inside its interval is none, and one seed shows nothing.
func TestNoDifference(t *testing.T) {
	var rounds []Round
	for seed, d := range []float64{0.05, -0.04, 0.01} {
		rounds = append(rounds, played("", seed+1, 0, 5, 0.5), played("random", seed+1, 1, 10, 0.6), played("bald", seed+1, 1, 10, 0.6+d))
	}
	a := Analyse([]string{"random", "bald"}, rounds)
	if p := a.Pairs[0]; p.Verdict != "none" || a.Penalties[1][0] != 0 || !strings.Contains(p.Sentence(), "no difference") {
		t.Errorf("%+v, %v", p, a.Penalties)
	}
	one := Analyse([]string{"random", "bald"}, rounds[:3])
	if p := one.Pairs[0]; p.Verdict != "none" || !strings.Contains(p.Sentence(), "one seed") {
		t.Errorf("%+v", p)
	}
	// What is not finished is left out, and said so.
	rounds = append(rounds, played("random", 1, 2, 15, 0.7))
	if a = Analyse([]string{"random", "bald"}, rounds); a.Complete || a.Seeds != 3 || len(a.Curves[0].Points) != 2 {
		t.Errorf("%+v", a)
	}
	if a = Analyse([]string{"random", "bald"}, rounds[:2]); a.Seeds != 0 || a.Complete || a.Curves != nil {
		t.Errorf("%+v", a)
	}
}

func TestQuantileT(t *testing.T) {
	// R's qt(0.975, df).
	for df, want := range map[int]float64{1: 12.7062, 4: 2.7764, 10: 2.2281, 11: 2.2010, 20: 2.0860, 60: 2.0003} {
		if got := quantileT(df); math.Abs(got-want) > 1e-4 {
			t.Errorf("df %d: %g instead of %g", df, got, want)
		}
	}
}

// TestReport: files say what the analysis says, and names cannot break the page.
func TestReport(t *testing.T) {
	o, dir := options(), t.TempDir()
	o, rounds, err := Run(t.Context(), o, dir, &toy{}, func(Progress) {})
	if err != nil {
		t.Fatal(err)
	}
	rounds[0].Picks[0].ID = "<script>alert(1)</script>"
	a := Analyse(o.Strategies, rounds)
	if err := Report(dir, o, rounds, a); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "cases.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil || len(lines) != 1+20*4*2 {
		t.Errorf("%d lines of cases, %v", len(lines), err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<polyline", "Pairwise penalties", fmt.Sprintf("%.4f", a.Curves[1].Area.Mean), "&lt;script&gt;"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if strings.Contains(string(page), "<script>") {
		t.Error("a name is a script")
	}
	var s struct{ Analysis Analysis }
	data, err := os.ReadFile(filepath.Join(dir, "summary.json"))
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil || len(s.Analysis.Curves) != 3 || s.Analysis.Curves[2].End().Dice != a.Curves[2].End().Dice {
		t.Errorf("%+v, %v", s, err)
	}
}
