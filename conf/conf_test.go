package conf_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/voxloop/voxloop/conf"
)

func env(m map[string]string) func(string) (string, bool) {
	return func(k string) (string, bool) {
		v, ok := m[k]
		return v, ok
	}
}

func TestFullFile(t *testing.T) {
	got, err := conf.Load(conf.Sources{File: "testdata/full.good.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	want := conf.Config{
		App: "radiology", Studies: "/data/studies", State: "/var/lib/voxloop",
		Conf: map[string]string{"models": "hippocampus", "heuristic_planner": "true"},
		Host: "127.0.0.1", Port: 8123, APIPrefix: "/label",
		Device: "cpu", ORT: "/opt/onnxruntime/libonnxruntime.so", Threads: 2,
		Limits:    conf.Limits{Upload: 512 << 20, Voxels: 100_000_000, Queue: 4},
		Datastore: conf.Datastore{Extensions: []string{"*.nii.gz", ".nrrd"}, Rescan: 5 * time.Minute, ReadOnly: true},
		Sessions:  conf.Sessions{Expiry: 30 * time.Minute},
		Training:  conf.Training{Threads: 3, Nice: 15, Candidates: 4},
		Models:    conf.Models{Keep: 12, KeepPrevious: 256 << 20, Put: "candidate", Trained: "publish"},
		Loop: conf.Loop{
			Models: []string{"hippocampus"}, Minutes: 30, Config: "night.yaml", Cron: []string{"0 2 * * *"}, NewLabels: 10, Debounce: time.Minute, CoolDown: time.Hour,
			Windows: []string{"Mon-Fri 20:00-06:00"}, Missed: "run",
			HoldOut: conf.HoldOut{Share: 0.25, Least: 8, Subject: "^(sub-[0-9]+)"}, Gate: conf.Gate{Margin: 0.02, Level: 0.1, Cases: 6, Slower: 3, Memory: 1.5},
			Rollback: conf.Rollback{Errors: 0.3, Requests: 20, Dice: 0.2, Labels: 8}, Shadow: conf.Shadow{Enabled: true, Cases: 30},
		},
		Selection: conf.Selection{
			Strategy: "clasp", Model: "hippocampus", Sampling: "mc", Flips: []string{"", "x"}, Passes: 20, Aggregation: "top", Budget: 0.5, Control: 0.2,
			Lease: time.Hour, PerClient: 2, ColdStart: 3, Seed: 7,
		},
		Webhook: conf.Webhook{URL: "https://lab.example/hook", SecretFile: "/run/secrets/hook", Events: []string{"published", "refused"}},
		CORS:    conf.CORS{Origins: []string{"https://viewer.example"}},
		TLS:     conf.TLS{Cert: "cert.pem", Key: "key.pem"},
		Log:     conf.Log{Level: "debug", Format: "json"}, ShutdownGrace: 10 * time.Second,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// The full example must not leave a key at its default: otherwise the test
// above could not see that the key is read.
func TestFullFileDiffersFromDefault(t *testing.T) {
	got, err := conf.Load(conf.Sources{File: "testdata/full.good.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "", reflect.ValueOf(got), reflect.ValueOf(conf.Default()))
}

func same(t *testing.T, prefix string, a, b reflect.Value) {
	t.Helper()
	for field, value := range a.Fields() {
		other := b.FieldByName(field.Name)
		if field.Type.Kind() == reflect.Struct {
			same(t, prefix+field.Name+".", value, other)
		} else if reflect.DeepEqual(value.Interface(), other.Interface()) {
			t.Errorf("%s%s has its default in full.good.yaml", prefix, field.Name)
		}
	}
}

func TestGoodFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.good.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		if _, err := conf.Load(conf.Sources{File: f}); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// Every bad file's first line says what its error must name.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bad.yaml")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(string(text), "\n")
			want, ok := strings.CutPrefix(first, "# refused, naming: ")
			if !ok {
				t.Fatalf("first line %q", first)
			}
			_, err = conf.Load(conf.Sources{File: f})
			if err == nil {
				t.Fatal("accepted")
			}
			msg := err.Error()
			if !strings.HasPrefix(msg, want) && !strings.HasPrefix(msg, filepath.Base(f)+": "+want) {
				t.Errorf("error %q does not start with %q", msg, want)
			}
			if strings.Contains(msg, "\n") {
				t.Errorf("error %q has several lines", msg)
			}
		})
	}
}

func TestPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lab.yaml")
	if err := os.WriteFile(file, []byte("app: radiology\nstudies: from-file\nport: 1\nthreads: 1\nhost: 10.0.0.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := conf.Load(conf.Sources{
		File: file,
		Env: env(map[string]string{
			"VOXLOOP_PORT": "2", "MONAI_LABEL_SERVER_PORT": "9", "MONAI_LABEL_STUDIES": "from-environment",
			"VOXLOOP_THREADS": "2", "VOXLOOP_HOST": "",
		}),
		Flags: map[string]any{"threads": 3},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.Host != "10.0.0.1" {
		t.Errorf("host = %q: an empty variable hid the file's value", got.Host)
	}
	if got.Studies != "from-environment" {
		t.Errorf("studies = %q, want the variable of MONAI Label over the file", got.Studies)
	}
	if got.Port != 2 {
		t.Errorf("port = %d, want 2: VOXLOOP_PORT over MONAI_LABEL_SERVER_PORT over the file", got.Port)
	}
	if got.Threads != 3 {
		t.Errorf("threads = %d, want the flag's 3", got.Threads)
	}
	if got.Limits.Queue != conf.Default().Limits.Queue {
		t.Errorf("limits.queue = %d, want the default", got.Limits.Queue)
	}
}

// The app's options come together from all sources, key by key.
func TestAppOptionsAreMerged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lab.yaml")
	if err := os.WriteFile(file, []byte("app: a\nstudies: s\nconf:\n  models: file\n  preload: true\n  samples: 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := conf.Load(conf.Sources{
		File:  file,
		Env:   env(map[string]string{"MONAI_LABEL_APP_CONF": `{"models": "environment", "samples": 6}`}),
		Flags: map[string]any{"conf": map[string]string{"models": "flag"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"models": "flag", "preload": "true", "samples": "6"}
	if !reflect.DeepEqual(got.Conf, want) {
		t.Errorf("conf = %v, want %v", got.Conf, want)
	}
	if len(conf.Default().Conf) != 0 {
		t.Errorf("the defaults were changed: %v", conf.Default().Conf)
	}
}

func TestMONAILabelVariables(t *testing.T) {
	got, err := conf.Load(conf.Sources{Env: env(map[string]string{
		"MONAI_LABEL_APP_DIR":            "radiology",
		"MONAI_LABEL_STUDIES":            "studies",
		"MONAI_LABEL_APP_CONF":           `{"models": "hippocampus", "epistemic_samples": 5}`,
		"MONAI_LABEL_SERVER_PORT":        "8010",
		"MONAI_LABEL_API_STR":            "/api",
		"MONAI_LABEL_CORS_ORIGINS":       `["https://a.example", "http://b.example:3000/"]`,
		"MONAI_LABEL_DATASTORE_FILE_EXT": `["*.nii.gz"]`,
		"MONAI_LABEL_SESSIONS":           "0",
		"MONAI_LABEL_SESSION_EXPIRY":     "120",
	})})
	if err != nil {
		t.Fatal(err)
	}
	want := conf.Default()
	want.App, want.Studies, want.Port, want.APIPrefix = "radiology", "studies", 8010, "/api"
	want.Conf = map[string]string{"models": "hippocampus", "epistemic_samples": "5"}
	want.CORS.Origins = []string{"https://a.example", "http://b.example:3000/"}
	want.Datastore.Extensions = []string{"*.nii.gz"}
	want.Sessions = conf.Sessions{Enabled: false, Expiry: 2 * time.Minute}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestBadVariableNamesKey(t *testing.T) {
	for name, key := range map[string]string{
		"VOXLOOP_PORT": "port", "VOXLOOP_LIMITS_UPLOAD": "limits.upload", "MONAI_LABEL_SESSIONS": "sessions.enabled",
		"MONAI_LABEL_CORS_ORIGINS": "cors.origins", "MONAI_LABEL_APP_CONF": "conf", "VOXLOOP_SHUTDOWN_GRACE": "shutdown_grace",
	} {
		_, err := conf.Load(conf.Sources{
			Env:   env(map[string]string{name: "[nonsense"}),
			Flags: map[string]any{"app": "radiology", "studies": "."},
		})
		if err == nil || !strings.HasPrefix(err.Error(), key+": ") {
			t.Errorf("%s: error %v does not name %s", name, err, key)
		}
	}
}

func TestMissingFile(t *testing.T) {
	if _, err := conf.Load(conf.Sources{File: filepath.Join(t.TempDir(), "none.yaml")}); err == nil {
		t.Error("a named file that is absent was accepted")
	}
}

func TestDefaultFileIsRead(t *testing.T) {
	t.Chdir(t.TempDir())
	flags := map[string]any{"app": "radiology", "studies": "."}
	if c, err := conf.Load(conf.Sources{Flags: flags}); err != nil || c.Port != 8000 {
		t.Fatalf("without a file: port %d, %v", c.Port, err)
	}
	if err := os.WriteFile(conf.DefaultFile, []byte("port: 8111\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := conf.Load(conf.Sources{Flags: flags}); err != nil || c.Port != 8111 {
		t.Errorf("with voxloop.yaml: port %d, %v; want 8111", c.Port, err)
	}
}

func TestBytes(t *testing.T) {
	tests := []struct {
		text string
		want conf.Bytes
		out  string
	}{
		{"4GiB", 4 << 30, "4GiB"},
		{"500 MB", 500_000_000, "500000000B"},
		{"1024", 1024, "1KiB"},
		{"0", 0, "0B"},
		{"1.5kib", 1536, "1536B"},
	}
	for _, tt := range tests {
		got, err := conf.ParseBytes(tt.text)
		if err != nil || got != tt.want || got.String() != tt.out {
			t.Errorf("ParseBytes(%q) = %d (%s), %v; want %d (%s)", tt.text, got, got, err, tt.want, tt.out)
		}
	}
	for _, text := range []string{"", "GiB", "-1", "1e30", "0.5", "4 parsecs", "NaN"} {
		if b, err := conf.ParseBytes(text); err == nil {
			t.Errorf("ParseBytes(%q) = %d, want an error", text, b)
		}
	}
}

func TestWriteReadsBack(t *testing.T) {
	want, err := conf.Load(conf.Sources{File: "testdata/full.good.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "written.yaml")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := want.Write(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := conf.Load(conf.Sources{File: file})
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}
