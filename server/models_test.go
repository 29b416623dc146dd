package server

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/ort/orttest"
	"github.com/voxloop/voxloop/internal/testkit"
)

// modelApp is testApp with the starting model under a name and with whatever
// more options.
func modelApp(t testing.TB, name string, change func(*apps.Options)) *apps.App {
	t.Helper()
	rt := orttest.Runtime(t)
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(startModel(t))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, apps.FileName), []byte("name: Versions\nmodels:\n  - path: "+name+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return testApp(t, func(o *apps.Options) {
		o.Dir, o.Engine, o.Device = dir, nil, ort.CPU
		o.Runtime = func(context.Context) (*ort.Runtime, error) { return rt, nil }
		if change != nil {
			change(o)
		}
	})
}

func startModel(t testing.TB) string {
	t.Helper()
	return filepath.Join(testkit.Root(t), "apps", "radiology", "models", "hippocampus")
}

// changedNetwork is the starting network with something added to a bias of its
// last layer.
func changedNetwork(t testing.TB, add float32) []byte {
	t.Helper()
	m, err := onnx.Parse(readAll(t, startModel(t), infer.NetworkFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range slices.Backward(m.Graph.Initializers) {
		f, err := x.Float32()
		if err != nil || len(x.Dims) != 1 || x.Dims[0] != 3 {
			continue
		}
		f = append([]float32(nil), f...)
		f[0] += add
		m.Graph.SetInitializer(onnx.NewFloat32(x.Name, x.Dims, f))
		return m.Bytes()
	}
	t.Fatal("the network has no bias of three channels")
	return nil
}

// TestReplayOfTheModelRecordings is TestReplayOfTheRecordings for 241 to 248,
// after a training that is in service.
func TestReplayOfTheModelRecordings(t *testing.T) {
	app := modelApp(t, "unet_hippo", nil)
	s := serve(t, app, Options{})
	s.must(200, "GET", "/readyz?models=1", nil, nil)
	trained := infer.Sent{Base: os.DirFS(startModel(t)), Files: map[string]string{}}
	for name, data := range map[string][]byte{
		infer.NetworkFile:  changedNetwork(t, 0.02),
		infer.TrainingFile: []byte(`{"format":1,"plan":{"epochs":2},"steps":8,"seconds":61.2,"written":"2026-11-23T09:47:52Z","mean_dice":0.5,"epochs":[{"epoch":1,"loss":1.5,"mean_dice":0.25},{"epoch":2,"loss":1.25,"mean_dice":0.5}]}`),
	} {
		trained.Files[name] = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(trained.Files[name], data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	v, published, err := app.OfferModel(t.Context(), "unet_hippo", trained, infer.Cause{Origin: infer.OriginTraining})
	if err != nil || published {
		t.Fatalf("a trained model by itself: published %v, %v", published, err)
	}
	if _, err := app.PublishModel(t.Context(), "unet_hippo", v.ID, infer.Cause{Origin: infer.OriginOperator}); err != nil {
		t.Fatal(err)
	}
	known := documented(t)
	files, err := filepath.Glob(filepath.Join(testkit.Shared(t, "golden", "protocol"), "24[1-8]-*.txt"))
	if err != nil || len(files) != 8 {
		t.Fatalf("recordings %v, %v", files, err)
	}
	for _, f := range files {
		r := parseRecording(t, filepath.Base(f)[:3], f)
		h, body := r.request(t)
		a := s.do(r.method, r.path, h, body)
		var c comparison
		c.compare(r, a, app.StudiesDir())
		if got, want := c.kinds(), known[r.number]; got != want {
			t.Errorf("%s %s %s: differs in %q, documented %q\n  %s\n  got %d %.400s", r.number, r.method, r.path, got, want,
				strings.Join(c.found, "\n  "), a.status, a.body)
		}
	}
}

// put sends a network.
func (s *live) put(status int, path string, fields ...field) answer {
	s.t.Helper()
	h, b := formBody(s.t, fields...)
	return s.must(status, "PUT", path, h, b)
}

func network(data []byte) field { return field{key: "file", name: "C:\\w.onnx", data: data} }

// TestModelVersions goes through the life of versions over HTTP.
func TestModelVersions(t *testing.T) {
	metrics := prometheus.NewRegistry()
	app := modelApp(t, "m", func(o *apps.Options) {
		o.Metrics, o.Versions.KeepPrevious = metrics, 1<<30
	})
	s := serve(t, app, Options{Metrics: metrics})
	s.must(200, "GET", "/readyz?models=1", nil, nil)
	inService := func() string { return s.must(200, "GET", "/model/m/versions", nil, nil).object(t).String("in_service") }
	answered := func() string {
		return s.must(200, "POST", "/infer/m?image=hippocampus_045&output=json", nil, nil).header.Get("X-Model-Version")
	}
	own := inService()
	first := changedNetwork(t, 3)
	o := s.put(200, "/model/m?reason=better", network(first)).object(t)
	if o.String("checksum") != "SHA256:"+sumOf(first) || len(o.Keys()) != 2 {
		t.Errorf("put answers %s", marshal(t, o))
	}
	if got := s.must(200, "GET", "/model/m", nil, nil); !bytes.Equal(got.body, first) {
		t.Error("the network that was put is not the one that is served")
	}
	one := inService()
	if one == own || answered() != one {
		t.Errorf("in service is %s, %s answers; before that it was %s", one, answered(), own)
	}
	// A manifest of its own comes along; so does what is not understood.
	manifest := string(readAll(t, startModel(t), infer.ManifestFile))
	s.put(200, "/model/m", network(changedNetwork(t, -3)),
		field{key: "manifest", name: "m.yaml", data: []byte(strings.Replace(manifest, "name: anterior", "name: front", 1))})
	if labels := s.must(200, "GET", "/info/", nil, nil).object(t).Sub("models").Sub("m").Sub("labels"); strings.Join(labels.Keys(), " ") != "front posterior" {
		t.Errorf("labels %v", labels.Keys())
	}
	two := inService()
	if v := s.must(200, "POST", "/model/m/rollback?reason=worse", nil, nil).object(t); v.String("version") != one || inService() != one || answered() != one {
		t.Errorf("after the rollback: %s", marshal(t, v))
	}
	s.must(200, "POST", "/model/m/publish?version="+two[:8], nil, nil)
	if answered() != two {
		t.Error("publishing by the start of an id")
	}
	s.must(200, "POST", "/model/m/pin?version="+two, nil, nil)
	s.must(200, "POST", "/model/m/unpin?version="+two, nil, nil)
	list := s.must(200, "GET", "/model/m/versions", nil, nil)
	for _, want := range []string{`"origin":"put","reason":"better"`, `"origin":"put","reason":"better","seconds"`, `"parent":"` + own + `"`, `"origin":"rollback"`, `"state":"ready","in_service":true`, `"app":true`} {
		contains(t, "versions", list.body, want)
	}
	s.must(200, "DELETE", "/model/m", nil, nil)
	if inService() != own {
		t.Errorf("after DELETE %s serves", inService())
	}
	if a := s.must(200, "POST", "/model/m/retire?version="+one, nil, nil); !strings.Contains(string(a.body), one) {
		t.Errorf("retired %s", a.body)
	}
	text := string(s.must(200, "GET", "/metrics", nil, nil).body)
	for _, want := range []string{
		`voxloop_model_version{device="cpu",model="m",version="` + own + `"} 1`, `voxloop_model_versions{model="m",state="ready"} 2`,
		`voxloop_model_swaps_total{model="m",result="done"} 4`, `voxloop_model_swaps_total{model="m",result="rolled_back"} 1`,
		`voxloop_model_swap_seconds_count{model="m"} 5`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}

// TestModelVersionsRefused says what is wrong, and what serves stays.
func TestModelVersionsRefused(t *testing.T) {
	app := modelApp(t, "m", nil)
	s := serve(t, app, Options{})
	s.must(200, "GET", "/readyz?models=1", nil, nil)
	before := s.must(200, "GET", "/model/info/m", nil, nil).body
	nan := changedNetwork(t, float32(math.NaN()))
	for _, c := range []struct {
		status int
		want   string
		fields []field
	}{
		{400, "model.onnx is no readable network", []field{network([]byte("not a network"))}},
		{400, "no finite numbers", []field{network(nan)}},
		{400, "manifest.yaml", []field{network(changedNetwork(t, 1)), {key: "manifest", name: "m", data: []byte("inputs: [")}}},
		{400, "no name of a file in a model folder", []field{network(changedNetwork(t, 1)), {key: "files", name: ".hidden", data: []byte("x")}}},
		{422, "Field required", nil},
	} {
		contains(t, c.want, s.put(c.status, "/model/m", c.fields...).body, c.want)
	}
	for path, status := range map[string]int{
		"POST /model/m/publish": 422, "POST /model/m/publish?version=nothing": 404, "POST /model/none/publish?version=app": 404,
		"POST /model/m/rollback": 409, "POST /model/none/rollback": 404, "POST /model/m/pin?version=1234": 404, "POST /model/m/pin": 422,
		"POST /model/m/retire?version=app": 409, "GET /model/none/versions": 404, "DELETE /model/none": 404, "DELETE /model/m": 404,
	} {
		method, target, _ := strings.Cut(path, " ")
		s.must(status, method, target, nil, nil)
	}
	if after := s.must(200, "GET", "/model/info/m", nil, nil).body; !bytes.Equal(before, after) {
		t.Errorf("in service before %s, after %s", before, after)
	}
	if left := tempFiles(t, app); len(left) != 0 {
		t.Errorf("temp files %v", left)
	}
}

// TestModelCandidate keeps what a client sends out of service where the lab
// wants it so, but tests it.
func TestModelCandidate(t *testing.T) {
	app := modelApp(t, "m", func(o *apps.Options) { o.Versions.Policy = map[infer.Origin]apps.Policy{} })
	s := serve(t, app, Options{})
	s.must(200, "GET", "/readyz?models=1", nil, nil)
	own := s.must(200, "GET", "/model/m", nil, nil).body
	o := s.put(200, "/model/m", network(changedNetwork(t, 1))).object(t)
	s.put(400, "/model/m", network(changedNetwork(t, float32(math.Inf(1)))))
	if got := s.must(200, "GET", "/model/m", nil, nil).body; !bytes.Equal(got, own) {
		t.Error("a candidate is in service")
	}
	s.must(200, "POST", "/model/m/publish?version="+o.String("candidate"), nil, nil)
	if got := s.must(200, "GET", "/model/info/m", nil, nil).object(t); got.String("checksum") != o.String("checksum") {
		t.Errorf("in service is %s, the candidate was %s", marshal(t, got), marshal(t, o))
	}
}

// TestModelsWithoutVersions is an engine that is no registry.
func TestModelsWithoutVersions(t *testing.T) {
	s := serve(t, testApp(t, nil), Options{})
	for _, path := range []string{"GET /model/segmentation/versions", "POST /model/segmentation/rollback", "DELETE /model/segmentation"} {
		method, target, _ := strings.Cut(path, " ")
		contains(t, path, s.must(503, method, target, nil, nil).body, "have no versions")
	}
	h, b := formBody(t, network([]byte("x")))
	s.must(503, "PUT", "/model/segmentation", h, b)
	if o := s.must(200, "GET", "/model/info/segmentation", nil, nil).object(t); o.String("checksum") != "SHA256:"+sumOf([]byte("weights")) {
		t.Errorf("info %v", ordered.Of("o", o))
	}
}
