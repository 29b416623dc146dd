package server

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/jobs"
	"github.com/voxloop/voxloop/internal/ordered"
)

// TestCanonicalPathsAndRedirects: Python clients follow no redirect.
func TestCanonicalPathsAndRedirects(t *testing.T) {
	s := serve(t, testApp(t, nil), Options{})
	for _, tt := range []struct{ method, path, location string }{
		{"GET", "/info", "/info/"},
		{"GET", "/train?check_if_running=true", "/train/?check_if_running=true"},
		{"GET", "/datastore?output=all", "/datastore/?output=all"},
		{"PUT", "/session", "/session/"},
		{"POST", "/infer/segmentation/", "/infer/segmentation"},
		{"GET", "/batch/infer/", "/batch/infer"},
		{"GET", "/logs", "/logs/"},
		{"GET", "/ohif", "/ohif/"},
		{"GET", "/datastore/image/?image=a%20b", "/datastore/image?image=a%20b"},
		{"POST", "/activelearning/first/", "/activelearning/first"},
	} {
		a := s.must(http.StatusTemporaryRedirect, tt.method, tt.path, nil, nil)
		if got := a.header.Get("Location"); got != s.url+tt.location || len(a.body) > 0 {
			t.Errorf("%s %s: location %q, body %q", tt.method, tt.path, got, a.body)
		}
	}
	for _, path := range []string{
		"GET /", "GET /info/", "GET /train/", "GET /scoring/", "GET /datastore/", "GET /batch/infer", "GET /logs/", "DELETE /train/",
		"POST /infer/segmentation", "POST /infer/wsi/segmentation", "POST /infer/wsi_v2/segmentation", "POST /activelearning/first",
		"GET /datastore/image", "GET /datastore/label", "PUT /datastore/updatelabelinfo", "GET /session/x", "POST /train/", "GET /ohif/a/b",
	} {
		method, target, _ := strings.Cut(path, " ")
		if a := s.do(method, target, nil, nil); a.status == http.StatusTemporaryRedirect || a.status == http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", path, a.status)
		}
	}
}

func TestWrongMethods(t *testing.T) {
	s := serve(t, testApp(t, nil), Options{})
	for _, tt := range []struct{ method, path, allow string }{
		{"POST", "/info/", "GET"},
		{"HEAD", "/info/", "GET"},
		{"GET", "/session/", "PUT"},
		{"OPTIONS", "/info/", "GET"},
		{"PATCH", "/datastore/label", "PUT, DELETE, HEAD, GET"},
		{"POST", "/model/segmentation", "GET, PUT, DELETE"},
		{"GET", "/model/segmentation/rollback", "POST"},
		{"PUT", "/train/", "GET, POST, DELETE"},
	} {
		if a := s.must(405, tt.method, tt.path, nil, nil); a.header.Get("Allow") != tt.allow {
			t.Errorf("%s %s: allow %q, want %q", tt.method, tt.path, a.header.Get("Allow"), tt.allow)
		}
	}
}

func TestPathParameters(t *testing.T) {
	engine := newThresholds("GMM+GraphCut")
	s := serve(t, testApp(t, func(o *apps.Options) { o.Engine = engine }), Options{})
	for _, path := range []string{"/infer/GMM+GraphCut", "/infer/GMM%2BGraphCut"} {
		s.must(200, "POST", path+"?image=hippocampus_045&output=json", nil, nil)
	}
	for _, path := range []string{"/infer/", "/infer/a/b", "/session/a%2fb", "/model/", "/x", "//", "/infer/wsi/a/b"} {
		if a := s.do("POST", path, nil, nil); a.status != 404 && a.status != 405 {
			t.Errorf("%s: %d", path, a.status)
		}
	}
}

func TestCORS(t *testing.T) {
	s := serve(t, testApp(t, nil), Options{Origins: []string{"http://viewer.example/"}})
	a := s.must(200, "GET", "/info/", map[string]string{"Origin": "http://viewer.example"}, nil)
	if a.header.Get("Access-Control-Allow-Origin") != "http://viewer.example" || a.header.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("%v", a.header)
	}
	a = s.must(404, "GET", "/nope", map[string]string{"Origin": "http://viewer.example"}, nil)
	if a.header.Get("Access-Control-Allow-Origin") == "" {
		t.Error("a browser cannot read the reason of an error")
	}
	a = s.must(200, "GET", "/info/", map[string]string{"Origin": "http://evil.example"}, nil)
	if a.header.Get("Access-Control-Allow-Origin") != "" || a.header.Get("Vary") != "Origin" {
		t.Errorf("another origin is let in: %v", a.header)
	}
	ask := map[string]string{"Origin": "http://evil.example", "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-a, x-b"}
	if a = s.must(400, "OPTIONS", "/info/", ask, nil); string(a.body) != "Disallowed CORS origin" {
		t.Errorf("%s", a.body)
	}
	ask["Origin"] = "http://viewer.example"
	if a = s.must(200, "OPTIONS", "/no/such/path", ask, nil); a.header.Get("Access-Control-Allow-Headers") != "x-a, x-b" {
		t.Errorf("%v", a.header)
	}
}

// TestOpenAPIListsEveryRoute reads the document as a client would.
func TestOpenAPIListsEveryRoute(t *testing.T) {
	app := testApp(t, nil)
	s := serve(t, app, Options{})
	var doc struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Parameters  []struct{ Name, In string }
			RequestBody *struct {
				Content map[string]struct {
					Schema struct{ Properties map[string]any }
				}
			} `json:"requestBody"`
			Responses map[string]any
		}
	}
	if err := json.Unmarshal(s.must(200, "GET", "/openapi.json", nil, nil).body, &doc); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	n := 0
	for path, ops := range doc.Paths {
		for method, op := range ops {
			n++
			if ids[op.OperationID] {
				t.Errorf("operation id %s is used twice", op.OperationID)
			}
			ids[op.OperationID] = true
			if strings.Contains(path, "{") && (len(op.Parameters) == 0 || op.Parameters[0].In != "path") {
				t.Errorf("%s %s: the path parameter is missing", method, path)
			}
		}
	}
	if want := len(New(app, Options{Logger: quiet()}).routes); n != want || doc.OpenAPI != "3.1.0" {
		t.Errorf("%d operations for %d routes", n, want)
	}
	infer := doc.Paths["/infer/{model}"]["post"]
	if p := infer.RequestBody.Content["multipart/form-data"].Schema.Properties; len(p) != 3 {
		t.Errorf("fields of an inference: %v", p)
	}
}

func TestPagesAreSelfContained(t *testing.T) {
	engine := newThresholds("segmentation")
	engine.info.Description = "x"
	s := serve(t, testApp(t, func(o *apps.Options) { o.Name = "<b>Lab</b>"; o.Engine = engine }), Options{})
	for _, path := range []string{"/", "/docs", "/logs/?lines=7&refresh=1"} {
		a := s.must(200, "GET", path, nil, nil)
		if a.header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%s: %s", path, a.header.Get("Content-Type"))
		}
		for _, outside := range []string{"src=", "http://cdn", "https://", "<b>Lab"} {
			if strings.Contains(string(a.body), outside) {
				t.Errorf("%s holds %q", path, outside)
			}
		}
	}
	home := s.must(200, "GET", "/", nil, nil).body
	contains(t, "the status page", home, "5 images, 2 labelled")
	contains(t, "the status page", home, s.url)
	contains(t, "the status page", home, "&lt;b&gt;Lab")
	contains(t, "the log page", s.must(200, "GET", "/logs/?lines=7&refresh=1", nil, nil).body, "lines=7")
}

func TestTasksWithoutTrainers(t *testing.T) {
	app := testApp(t, nil)
	s := serve(t, app, Options{})
	for _, tt := range []struct{ base, start, kind, key string }{
		{"/train/", "/train/m", "Train", "model"}, {"/scoring/", "/scoring/m", "Scoring", "method"}, {"/batch/infer", "/batch/infer/m", "Batch_infer", "model"},
	} {
		if a := s.must(404, "GET", tt.base, nil, nil); string(a.body) != `{"detail":"No `+tt.kind+` Tasks Found"}` {
			t.Errorf("%s", a.body)
		}
		if a := s.must(200, "DELETE", tt.base, nil, nil); string(a.body) != "null" {
			t.Errorf("%s", a.body)
		}
		js := map[string]string{"Content-Type": "application/json"}
		task := s.must(200, "POST", tt.start, js, []byte(`{"max_epochs":2}`)).object(t)
		keys := task.Sub("request").Keys()
		if keys[0] != tt.key || keys[len(keys)-1] != "max_epochs" {
			t.Errorf("request %v", keys)
		}
		for {
			last := s.must(200, "GET", tt.base, nil, nil).object(t)
			if status := last.String("status"); status == "SUBMITTED" || status == "RUNNING" {
				continue
			}
			details, _ := last.Get("details")
			if last.String("id") != task.String("id") || last.String("status") != "ERROR" || len(details.([]any)) != 1 {
				t.Errorf("%s", marshal(t, last))
			}
			break
		}
		if a := s.must(404, "GET", tt.base+"?check_if_running=true", nil, nil); string(a.body) != `{"detail":"No `+tt.kind+` Tasks are currently Running"}` {
			t.Errorf("%s", a.body)
		}
		all := s.must(200, "GET", tt.base+"?all=1", nil, nil)
		if v, err := ordered.ParseValue(all.body); err != nil || len(v.([]any)) != 1 {
			t.Errorf("%s", all.body)
		}
		s.must(404, "POST", tt.start+"?run_sync=True", js, []byte(`{}`))
	}
	if a := s.must(200, "POST", "/train/", nil, nil); string(a.body) != "{}" {
		t.Errorf("%s", a.body)
	}
}

// TestBusyTask answers a second start as the protocol words it.
func TestBusyTask(t *testing.T) {
	s := New(testApp(t, nil), Options{Logger: quiet()})
	rec := httptest.NewRecorder()
	c := echo.New().NewContext(httptest.NewRequest(http.MethodPost, "/train/m", nil), rec)
	s.fail(fault.New(fault.Busy, "++++++++++ %s Task is Already Running", "Train"), c)
	if rec.Code != 429 || rec.Body.String() != `{"detail":"++++++++++ Train Task is Already Running"}` {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func TestTaskObjectOverTheWire(t *testing.T) {
	task := jobs.Task{ID: "x", Status: jobs.Submitted, Request: ordered.Of("model", "m")}
	keys := strings.Join(task.Object().Keys(), ",")
	if keys != "id,status,request,start_ts" {
		t.Errorf("keys %s", keys)
	}
}

// TestEveryKindHasAStatus and every status is told to the client.
func TestEveryKindHasAStatus(t *testing.T) {
	want := map[fault.Kind]int{
		fault.Internal: 500, fault.Invalid: 400, fault.Missing: 422, fault.NotFound: 404, fault.Conflict: 409, fault.TooLarge: 413,
		fault.Busy: 429, fault.Unavailable: 503, fault.NoSpace: 507, fault.Canceled: 499,
	}
	s := New(testApp(t, nil), Options{Logger: quiet()})
	for kind := fault.Internal; kind <= fault.Canceled; kind++ {
		rec := httptest.NewRecorder()
		c := echo.New().NewContext(httptest.NewRequest(http.MethodGet, "/", nil), rec)
		s.fail(fault.Wrap(kind, http.ErrBodyNotAllowed, "why"), c)
		if rec.Code != want[kind] || rec.Body.String() != `{"detail":"why"}` {
			t.Errorf("%s: %d %s", kind, rec.Code, rec.Body)
		}
	}
	rec := httptest.NewRecorder()
	c := echo.New().NewContext(httptest.NewRequest(http.MethodGet, "/", nil), rec)
	s.fail(http.ErrBodyNotAllowed, c)
	if rec.Code != 500 || rec.Body.String() != `{"detail":"Internal Server Error"}` {
		t.Errorf("an error without a kind: %d %s", rec.Code, rec.Body)
	}
	rec = httptest.NewRecorder()
	c = echo.New().NewContext(httptest.NewRequest(http.MethodGet, "/", nil), rec)
	s.fail(apps.ErrSessionsOff, c)
	if rec.Code != 406 {
		t.Errorf("sessions switched off: %d", rec.Code)
	}
}

func TestPanicIsAnswered(t *testing.T) {
	app := testApp(t, nil)
	var log bytes.Buffer
	s := New(app, Options{Logger: textLogger(&log)})
	s.echo.GET("/boom", func(echo.Context) error { panic("secret") })
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/boom", nil))
	if rec.Code != 500 || strings.Contains(rec.Body.String(), "secret") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	contains(t, "the log", log.Bytes(), "secret")
	contains(t, "the log", log.Bytes(), "routes_test.go")
}

func TestProbesAndMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := serve(t, testApp(t, func(o *apps.Options) { o.Metrics = reg }), Options{Metrics: reg})
	s.must(200, "GET", "/healthz", nil, nil)
	if a := s.must(200, "GET", "/readyz?models=1", nil, nil); string(a.body) != `{"status":"ready","models":{"segmentation":"ready"}}` {
		t.Errorf("%s", a.body)
	}
	s.must(200, "POST", "/infer/segmentation?image=hippocampus_045&output=json", nil, nil)
	s.must(404, "POST", "/infer/made_up?image=hippocampus_045", nil, nil)
	s.must(404, "GET", "/patient_name", nil, nil)
	m := s.must(200, "GET", "/metrics", nil, nil).body
	for _, want := range []string{
		`voxloop_http_requests_total{method="POST",route="/infer/:model",status="200"} 1`,
		`voxloop_http_requests_total{method="GET",route="none",status="404"} 1`,
		`voxloop_http_request_duration_seconds_count{method="POST",route="/infer/:model"} 2`,
		`voxloop_inferences_total{model="segmentation",result="ok"} 1`,
		`voxloop_inferences_total{model="unknown",result="not found"} 1`,
		`voxloop_inference_stage_seconds_count{model="segmentation",stage="network"} 1`,
		`voxloop_models{state="ready"} 1`,
		`voxloop_datastore_images 5`,
		`voxloop_datastore_images_labelled 2`,
		`voxloop_datastore_labels{tag="final"} 2`,
		`voxloop_inferences_in_flight 0`,
		`voxloop_tasks{kind="Train"} 0`,
		"go_goroutines", "process_resident_memory_bytes",
	} {
		contains(t, "/metrics", m, want)
	}
	if bytes.Contains(m, []byte("patient_name")) || bytes.Contains(m, []byte("made_up")) {
		t.Error("a client's text became a label value")
	}
}
