package apps

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/internal/phantom"
	"github.com/voxloop/voxloop/internal/uncertainty"
	"github.com/voxloop/voxloop/strategies"
)

// surveyor is a painter that can tell how sure it is: the mean of an image's
// voxels decides. Its maps are of a small array, mirrored against the image.
type surveyor struct{ painter }

// doubt is a probability of the foreground between 0.5 (unsure) and 1 that
// depends on the image.
func doubt(v *imaging.Volume) float32 {
	f := make([]float32, v.Voxels())
	v.Float32s(f, 0, 0)
	sum := uint64(0)
	for _, x := range f {
		sum = sum*31 + uint64(int64(x))
	}
	return 0.5 + 0.5*float32(sum%997)/997
}

func (e *surveyor) Measure(ctx context.Context, name string, in infer.Input, o infer.Options, s infer.Sampling) (*infer.Measured, error) {
	if !s.Features || !slices.Equal(s.Flips, []string{infer.AllMirrorings}) {
		return nil, fmt.Errorf("sampling %+v", s)
	}
	out, err := e.Infer(ctx, name, in, o)
	if err != nil {
		return nil, err
	}
	size := [3]int{4, 4, 4}
	acc, err := uncertainty.New(2, 64)
	if err != nil {
		return nil, err
	}
	p := doubt(in.Volumes[0])
	for range 2 {
		pass, err := acc.Begin()
		if err != nil {
			return nil, err
		}
		probabilities := [][]float32{make([]float32, 64), make([]float32, 64)}
		for i := range 64 {
			probabilities[1][i] = p
			if i >= 32 {
				probabilities[1][i] = 0.999
			}
			probabilities[0][i] = 1 - probabilities[1][i]
		}
		acc.Add(pass, 0, probabilities)
	}
	m := &infer.Measured{Output: *out, Size: size, Voxel: [3]float64{2, 2, 2}, Features: []float32{p, 1}}
	m.ToImage = imaging.Affine{{2, 0, 0, 0}, {0, -2, 0, 30}, {0, 0, 2, 0}}
	m.Maps, err = acc.Finish(ctx)
	return m, err
}

// selectionOf waits until every image has been looked at.
func (s *school) current(t *testing.T, fresh int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		c := s.selection.index.Coverage("hippocampus")
		if c.Fresh == fresh && c.Stale+c.Unscored == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v\n%s", c, s.log.String())
		}
	}
}

func openSurveyed(t *testing.T, studies string, e Engine, o SelectionOptions) *school {
	t.Helper()
	return openSchoolWith(t, studies, e, func(opts *Options) { opts.Selection = o })
}

// reach waits until so many images have been looked at.
func (e *surveyor) reach(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); e.count() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d looks, want %d", e.count(), n)
		}
	}
}

func (s *school) next(t *testing.T, strategy, client string) *ordered.Map {
	t.Helper()
	o, err := s.NextSample(t.Context(), strategy, ordered.Of("client_id", client))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func scoreOf(t *testing.T, o *ordered.Map) float64 {
	t.Helper()
	v, ok := o.Sub("explanation").Get("score")
	f, isNumber := asFloat(v)
	if !ok || !isNumber {
		t.Fatalf("no score in %v", o.Keys())
	}
	return f
}

// TestSelectionScoresAndHandsOut scores in the background, hands out what is
// least sure first, each image to one client, and says why.
func TestSelectionScoresAndHandsOut(t *testing.T) {
	e := &surveyor{painter{version: "v1"}}
	reg := prometheus.NewRegistry()
	s := openSchoolWith(t, phantoms(t, 8, 1), e, func(o *Options) {
		o.Selection = SelectionOptions{Budget: 1, Lease: time.Hour, ColdStart: 1, Strategy: "entropy"}
		o.Metrics = reg
	})
	watch, err := s.Watch("")
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	s.current(t, 7)
	e.reach(t, 8) // the labelled image, too: what differs from it is measured by its features
	if got := s.Info().Sub("strategies").Keys(); got[0] != "entropy" || !slices.Contains(got, "hippocampus_epistemic") || !slices.Contains(got, "random") || len(got) != 16 {
		t.Errorf("strategies %v", got)
	}
	seen := map[string]bool{}
	last := 1e9
	for i := range 7 {
		o := s.next(t, "entropy", fmt.Sprint("reader", i%2))
		if keys := strings.Join(o.Keys()[:3], " "); keys != "id explanation path" {
			t.Errorf("keys %s", keys)
		}
		x := o.Sub("explanation")
		if score := scoreOf(t, o); score > last || seen[o.String("id")] {
			t.Errorf("pick %d: %s with %g after %g", i, o.String("id"), score, last)
		} else {
			last = score
		}
		seen[o.String("id")] = true
		if x.String("why") != "highest entropy" || x.String("version") != "v1" || x.Sub("parts").Len() < 4 {
			t.Errorf("explanation %v", x.Keys())
		}
		if i == 0 { // the least sure one has a region: half of the array, mirrored along y
			text, err := ordered.Marshal(o)
			if err != nil || !strings.Contains(string(text), `"rank":1,"of":7`) || !strings.Contains(string(text), `"min":[0,24,0],"max":[2,30,6]`) {
				t.Errorf("%s %v", text, err)
			}
		}
	}
	if o := s.next(t, "entropy", "a third"); o.Len() != 0 {
		t.Errorf("an image that somebody holds was given away: %v", o.Keys())
	}
	if o := s.next(t, "entropy", "reader0"); o.String("id") == "" || o.Sub("explanation").String("why") == "" {
		t.Errorf("a client that holds images gets %v", o.Keys())
	}
	// A label of a person: the others' scores stay, the image is gone from the pool.
	before := e.count()
	l := datastore.LabelFile{Ext: ".nii.gz", Write: rewritten(".nii.gz", imaging.NewLabelMap(imaging.Grid{Size: [3]int{2, 2, 2}, Affine: imaging.Identity()})).Write}
	if _, err := s.store.SaveLabel(t.Context(), "phantom_0003", "final", l); err != nil {
		t.Fatal(err)
	}
	s.current(t, 6)
	// Another version: all scores are stale, and are made again.
	e.set("v2", nil)
	s.selection.swapped("hippocampus", infer.Swap{})
	e.reach(t, before+8)
	s.current(t, 6)
	if n := e.count() - before; n != 8 {
		t.Errorf("%d looks after the swap, want 6 and those at the two labelled images", n)
	}
	refreshed := 0
	for len(watch.Events()) > 0 {
		if ev := <-watch.Events(); ev.Type == ScoresRefreshed {
			refreshed++
		}
	}
	for deadline := time.Now().Add(5 * time.Second); refreshed < 2; {
		select {
		case ev := <-watch.Events():
			if ev.Type == ScoresRefreshed {
				refreshed++
			}
		case <-time.After(time.Until(deadline)):
			t.Fatalf("%d events of refreshed scores, want 2", refreshed)
		}
	}
	text := scrape(t, reg)
	for _, want := range []string{"voxloop_selection_images{fresh} 6\n", "voxloop_selection_scored_total{} 16\n", "voxloop_selection_failed_total{} 0\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics lack %s in\n%s", want, text)
		}
	}
}

// TestSelectionSurvivesARestart looks at nothing twice, but at images that have
// changed, and forgets those that have gone.
func TestSelectionSurvivesARestart(t *testing.T) {
	studies := phantoms(t, 6, 0)
	o := SelectionOptions{Budget: 1, Lease: time.Hour, ColdStart: -1}
	s := openSurveyed(t, studies, &surveyor{painter{version: "v1"}}, o)
	s.current(t, 6)
	held := s.next(t, "entropy", "reader").String("id")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.StateDir(), selectionDir, "hippocampus.jsonl")
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"stamp":"cut o`); err != nil { // a kill amid a line
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	free := slices.DeleteFunc([]int{1, 2, 3, 4, 5, 6}, func(i int) bool { return strings.HasPrefix(phantom.Name(i), held) })
	touched, removed := free[0], free[1]
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(filepath.Join(studies, phantom.Name(touched)), later, later); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(studies, phantom.Name(removed))); err != nil {
		t.Fatal(err)
	}
	e := &surveyor{painter{version: "v1"}}
	s = openSurveyed(t, studies, e, o)
	s.current(t, 5)
	if n := e.count(); n != 1 {
		t.Errorf("%d looks after the restart, want 1", n)
	}
	again := map[string]bool{}
	for range 3 {
		again[s.next(t, "entropy", "another").String("id")] = true
	}
	if again[held] || len(again) > 3 {
		t.Errorf("%s is held, %v were handed out", held, again)
	}
	var data []byte
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) { // it is written anew when all has been looked at
		if data, err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(data), "\n") == 5 || time.Now().After(deadline) {
			break
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(data), "\n"); n != 5 || strings.Contains(string(data), "cut o") || strings.Contains(string(data), strings.TrimSuffix(phantom.Name(removed), ".nii.gz")) {
		t.Errorf("%d lines are kept, want 5", n)
	}
}

// TestSelectionNamesWhatFails flags an image that fails among others, and takes
// a version that scores nothing out of the work.
func TestSelectionNamesWhatFails(t *testing.T) {
	studies := phantoms(t, 5, 0)
	e := &surveyor{painter{version: "v1", hook: func(_ context.Context, run int) error {
		if run <= 2 {
			return fault.New(fault.Invalid, "strange voxels")
		}
		return nil
	}}}
	s := openSurveyed(t, studies, e, SelectionOptions{Budget: 1, Lease: time.Hour, ColdStart: -1})
	for deadline := time.Now().Add(10 * time.Second); s.selection.index.Coverage("hippocampus").Flagged < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", s.selection.index.Coverage("hippocampus"))
		}
	}
	s.current(t, 5) // those that failed need no second look
	if e.count() != 5 {
		t.Errorf("%d looks, want 5", e.count())
	}
	for i := range 5 {
		x := s.next(t, "entropy", "reader").Sub("explanation")
		text, err := ordered.Marshal(x)
		if flagged := strings.Contains(string(text), "strange voxels"); err != nil || flagged != (i >= 3) {
			t.Errorf("pick %d: %s", i, text)
		}
	}
	e.set("v2", func(context.Context, int) error { return fault.New(fault.Invalid, "no probabilities") })
	s.selection.swapped("hippocampus", infer.Swap{})
	for deadline := time.Now().Add(10 * time.Second); s.SelectionStatus().String("blocked") != "no probabilities"; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%v", s.SelectionStatus())
		}
	}
	flagged := func() (n int) {
		for i := range 5 {
			n += len(s.selection.index.Flags(strings.TrimSuffix(phantom.Name(i+1), ".nii.gz")))
		}
		return n
	}
	if c := s.selection.index.Coverage("hippocampus"); flagged() != 2 || c.Stale != 5 {
		t.Errorf("%d flags, %+v", flagged(), c)
	}
	e.set("v3", nil)
	s.selection.swapped("hippocampus", infer.Swap{})
	s.current(t, 5)
	if flagged() != 0 {
		t.Errorf("%d flags are left", flagged())
	}
}

// TestSelectionGivesWay to people's requests, and keeps to its budget.
func TestSelectionGivesWay(t *testing.T) {
	began, person := make(chan struct{}), make(chan struct{})
	e := &surveyor{painter{version: "v1"}}
	e.hook = func(ctx context.Context, run int) error {
		switch run {
		case 1: // a measurement, which a person interrupts
			close(began)
			<-ctx.Done()
			close(person)
			return ctx.Err()
		case 2:
			<-person // the person's: it goes on only when the other has given way
		}
		return nil
	}
	s := openSurveyed(t, phantoms(t, 2, 0), e, SelectionOptions{Budget: 1})
	<-began
	r, err := s.Infer(t.Context(), InferRequest{Model: "hippocampus", Image: "phantom_0001", NoFile: true})
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	s.current(t, 2)
	if n := number(s.selection.count.preempted); n != 1 || e.count() != 4 || e.most > 2 {
		t.Errorf("gave way %v times, %d runs", n, e.count())
	}
	idle := &surveyor{painter{version: "v1", hook: func(context.Context, int) error { time.Sleep(20 * time.Millisecond); return nil }}}
	begin := time.Now()
	s = openSurveyed(t, phantoms(t, 4, 0), idle, SelectionOptions{Budget: 0.25})
	s.current(t, 4)
	if took := time.Since(begin); took < 4*20*time.Millisecond+3*60*time.Millisecond {
		t.Errorf("4 looks of 20 ms within a quarter of the time took %s", took)
	}
}

// TestScoringOfUncertainty refreshes the scores when it is told to, and answers
// as the reference does.
func TestScoringOfUncertainty(t *testing.T) {
	e := &surveyor{painter{version: "v1"}}
	s := openSurveyed(t, phantoms(t, 6, 1), e, SelectionOptions{})
	time.Sleep(20 * time.Millisecond)
	if e.count() != 0 {
		t.Errorf("%d looks without a budget", e.count())
	}
	q := s.Tasks().Scoring
	run := func(body string) string {
		t.Helper()
		got, err := q.Do(t.Context(), ordered.Of("method", "hippocampus_epistemic").Merge(parse(t, body)), false)
		if err != nil {
			t.Fatal(err)
		}
		o := got.(*ordered.Map)
		if l, _ := o.Get("latency"); fmt.Sprint(l) == "" {
			t.Error("no latency")
		}
		o.Delete("latency")
		text, err := ordered.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if got := run(`{"max_samples":2}`); !strings.HasPrefix(got, `{"total":5,"skipped":0,"executed":2}`) || e.count() != 2 {
		t.Errorf("%s after %d looks", got, e.count())
	}
	s.settle(t, e)
	done := s.selection.index.Coverage("hippocampus").Fresh
	if got, want := run(`{}`), fmt.Sprintf(`{"total":5,"skipped":%d,"executed":%d}`, done, 5-done); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := run(`{}`); got != `{"total":5,"skipped":5,"executed":0}` {
		t.Error(got)
	}
	o := s.next(t, "hippocampus_epistemic", "reader")
	if keys := strings.Join(o.Keys()[:3], " "); keys != "id epistemic_entropy explanation" || strings.Join(o.Sub("epistemic_entropy").Keys(), " ") != "score ts" {
		t.Errorf("%v", o.Keys())
	}
	e.set("v2", func(context.Context, int) error { return fault.New(fault.Invalid, "no probabilities") })
	if _, err := q.Do(t.Context(), ordered.Of("method", "hippocampus_epistemic"), false); fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "no probabilities") {
		t.Errorf("%v", err)
	}
	if _, err := q.Do(t.Context(), ordered.Of("method", "hippocampus_epistemic", "max_samples", "many"), false); fault.KindOf(err) != fault.Missing {
		t.Errorf("%v", err)
	}
}

// settle waits until the work that is under way has ended.
func (s *school) settle(t *testing.T, e *surveyor) {
	t.Helper()
	for range 100 {
		before := e.count()
		time.Sleep(10 * time.Millisecond)
		s.selection.mu.Lock()
		n := len(s.selection.flight)
		s.selection.mu.Unlock()
		if n == 0 && e.count() == before {
			return
		}
	}
	t.Fatal("the work never ended")
}

func TestSelectionOptionsAreChecked(t *testing.T) {
	for want, o := range map[string]SelectionOptions{
		"selection.sampling":    {Sampling: "guess"},
		"selection.passes":      {Passes: 1},
		"selection.aggregation": {Aggregation: "none"},
		"selection.budget":      {Budget: 2},
		"control":               {Control: 1},
		"lease":                 {Lease: -1},
		"selection.model":       {Model: "none"},
		"selection.strategy":    {Strategy: "none"},
	} {
		a := &App{opts: Options{Selection: o}, refs: []ModelRef{{Name: "m"}}}
		if err := a.openSelection(); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	for _, o := range []SelectionOptions{{}, {Sampling: "mc", Passes: 4}, {Sampling: "ensemble"}, {Sampling: "single", Aggregation: "top"}, {Flips: []string{"", "x"}}} {
		if _, err := o.Rules(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestAnnotationTime(t *testing.T) {
	image := func(info string, label string) datastore.Image {
		return datastore.Image{Info: parse(t, info), Labels: []datastore.Label{{Tag: "final", Info: parse(t, label)}}}
	}
	for _, tt := range []struct {
		info, label string
		want        float64
	}{
		{`{"strategy":{"random":{"ts":1000}}}`, `{"ts":1300}`, 300},
		{`{"strategy":{"random":{"ts":1000},"first":{"ts":1200}}}`, `{"ts":1300}`, 100},
		{`{"strategy":{"random":{"ts":1000}}}`, `{"ts":9000}`, 0}, // more than two hours: somebody went home
		{`{"strategy":{"random":{"ts":1400}}}`, `{"ts":1300}`, 0},
		{`{"strategy":{"random":{"ts":1000}}}`, `{"ts":1300,"model":"m"}`, 0},
		{`{}`, `{"ts":1300}`, 0},
	} {
		if got := annotationTime(image(tt.info, tt.label)); got != tt.want {
			t.Errorf("%s %s: %g, want %g", tt.info, tt.label, got, tt.want)
		}
	}
	if got := annotationTime(datastore.Image{}); got != 0 {
		t.Error(got)
	}
}

func observed(id string) *strategies.Observation {
	return &strategies.Observation{Image: id, Model: "m"}
}

func TestLooksFileIsWrittenAnew(t *testing.T) {
	l := &looksFile{path: filepath.Join(t.TempDir(), "a", "m.jsonl"), last: map[string]int{}}
	put := func(id string, n int) {
		k := keptLook{Stamp: fmt.Sprint(n), Look: observed(id)}
		if err := l.add(k); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 3 {
		for i := range 600 {
			put(fmt.Sprint(i), n)
		}
	}
	l.forget("7")
	l.forget("not there")
	if err := l.tidy(); err != nil {
		t.Fatal(err)
	}
	put("new", 9)
	check := func(l *looksFile) {
		t.Helper()
		got := map[string]string{}
		if err := l.load(func(k keptLook) bool { got[k.Look.Image] = k.Stamp; return true }); err != nil {
			t.Fatal(err)
		}
		if len(got) != 600 || got["7"] != "" || got["3"] != "2" || got["new"] != "9" || l.lines != 600 {
			t.Errorf("%d images, %q %q %q, %d lines", len(got), got["7"], got["3"], got["new"], l.lines)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	check(&looksFile{path: l.path})
	if err := l.tidy(); err != nil { // nothing to do
		t.Fatal(err)
	}
	check(&looksFile{path: l.path})
	empty := &looksFile{path: filepath.Join(t.TempDir(), "none")}
	if err := empty.load(func(keptLook) bool { return true }); err != nil || len(empty.last) != 0 {
		t.Error(err)
	}
	if err := errors.Join(empty.tidy(), empty.Close()); err != nil {
		t.Error(err)
	}
}
