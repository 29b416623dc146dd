package server

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/internal/testkit"
	"github.com/voxloop/voxloop/trainers/trainertest"
)

// TestActAsTrainer is not a test: it is the program that trains in the others.
func TestActAsTrainer(*testing.T) { trainertest.Act() }

// resting is an engine whose models are ready and answer nothing.
type resting []infer.Info

func (e resting) Models() []infer.Info { return e }
func (e resting) Model(name string) (infer.Info, bool) {
	if i := slices.IndexFunc(e, func(m infer.Info) bool { return m.Name == name }); i >= 0 {
		return e[i], true
	}
	return infer.Info{}, false
}
func (resting) Wait(context.Context, string) error { return nil }
func (resting) Close() error                       { return nil }
func (resting) Infer(context.Context, string, infer.Input, infer.Options) (*infer.Output, error) {
	return nil, errors.New("no inference here")
}

// trainingApp is the app of the recordings 201 to 251: a model that can learn
// and one that cannot. This test binary is the program that trains.
func trainingApp(t *testing.T, script trainertest.Script) *apps.App {
	t.Helper()
	dir := t.TempDir()
	own := os.DirFS(filepath.Join(testkit.Root(t), "apps", "radiology", "models", "hippocampus"))
	for _, name := range []string{"unet_hippo", "unet_ct"} {
		if err := os.CopyFS(filepath.Join(dir, name), own); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"unet_ct/model.onnx": "no network",
		apps.FileName: "name: Bench - small UNet\ndescription: Benchmark app with one small UNet\nversion: '1.0'\n" +
			"models:\n  - path: unet_hippo\n  - path: unet_ct\nstrategies: [random, first]\nscoring: [dice, sum]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	info := func(name, description string, labels ...string) infer.Info {
		m := infer.Info{
			Name: name, Type: "segmentation", Description: description, Dimension: 3, Channels: 1, State: infer.Ready,
			Config: ordered.Of("device", []string{"cpu"}),
		}
		for i, l := range labels {
			m.Labels = append(m.Labels, infer.Label{Name: l, Value: i + 1})
		}
		return m
	}
	app := testApp(t, func(o *apps.Options) {
		o.Dir = dir
		o.Engine = resting{info("unet_hippo", "UNet, MR crop", "anterior", "posterior"), info("unet_ct", "UNet, CT at 1.5 mm", "organ_a", "organ_b")}
		o.Training = apps.TrainingOptions{Enabled: true, Command: trainertest.Command(t, "TestActAsTrainer", script)}
	})
	if err := app.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return app
}

// TestReplayOfTheTrainingRecordings is TestReplayOfTheRecordings for 201 to 220.
// Between the calls it waits for the state that the recording was made in. What
// a training writes into its details is its own business; that there is
// something is not.
func TestReplayOfTheTrainingRecordings(t *testing.T) {
	app := trainingApp(t, trainertest.Script{Steps: 50, Pause: 50 * time.Millisecond})
	s := serve(t, app, Options{})
	known := documented(t)
	state := map[string]string{"205": "RUNNING", "211": "RUNNING", "212": "DONE", "218": "ERROR"}
	files, err := filepath.Glob(filepath.Join(testkit.Shared(t, "golden", "protocol"), "2[0-9][0-9]-*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	replayed := 0
	for _, f := range files {
		number := filepath.Base(f)[:3]
		if number > "220" {
			break
		}
		replayed++
		r := parseRecording(t, number, f)
		if want := state[number]; want != "" {
			s.awaitTask(want)
		}
		h, body := r.request(t)
		a := s.do(r.method, r.path, h, body)
		r.body, a.body = withoutChance(t, r.body), []byte(withoutChance(t, string(a.body)))
		var c comparison
		c.compare(r, a, app.StudiesDir())
		if got, want := c.kinds(), known[number]; got != want {
			t.Errorf("%s %s %s: differs in %q, documented %q\n  %s\n  got %d %.300s", number, r.method, r.path, got, want,
				strings.Join(c.found, "\n  "), a.status, a.body)
		}
	}
	if replayed != 20 {
		t.Errorf("%d recordings, want 20", replayed)
	}
}

// awaitTask waits until the latest task has a status and something to tell.
func (s *live) awaitTask(status string) *ordered.Map {
	s.t.Helper()
	var task *ordered.Map
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		task = s.must(200, "GET", "/train/", nil, nil).object(s.t)
		details, _ := task.Get("details")
		if lines, ok := details.([]any); ok && len(lines) > 0 && task.String("status") == status {
			return task
		}
	}
	s.t.Fatalf("the task never was %s: %s", status, marshal(s.t, task))
	return nil
}

var taskTime = regexp.MustCompile(`"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"`)

// withoutChance replaces what differs from run to run: times, sums of files, the
// lines of details, the numbers of statistics and the names of metrics.
func withoutChance(t *testing.T, body string) string {
	t.Helper()
	v, err := ordered.ParseValue([]byte(body))
	if err != nil {
		return body // no JSON, or none that can be read: compared as it is
	}
	var walk func(path string, v any) any
	walk = func(path string, v any) any {
		switch x := v.(type) {
		case *ordered.Map:
			for k, e := range x.All() {
				x.Set(k, walk(path+"/"+k, e))
			}
			if strings.HasSuffix(path, "/metrics") {
				return "metrics"
			}
		case []any:
			for i := range x {
				x[i] = walk(path, x[i])
			}
			if strings.HasSuffix(path, "/details") && len(x) > 0 {
				return []any{"lines"}
			}
		case json.Number:
			if strings.Contains(path, "/train_stats/") || path == "/modified_time" {
				if strings.ContainsAny(x.String(), ".eE") {
					return json.Number("0.5")
				}
				return json.Number("1")
			}
		case string:
			if strings.HasSuffix(path, "/total_time") || path == "/checksum" {
				return "x"
			}
		}
		return v
	}
	return taskTime.ReplaceAllString(string(marshal(t, walk("", v))), `"<TIME>"`)
}
