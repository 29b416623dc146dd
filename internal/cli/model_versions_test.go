package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort/orttest"
	"github.com/voxloop/voxloop/internal/testkit"
)

// otherModel is the starting model's folder with a bias changed, so that its
// network is another one.
func otherModel(t *testing.T, add float32) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "other")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(testkit.Root(t), "apps", "radiology", "models", "hippocampus"))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, infer.NetworkFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := onnx.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range m.Graph.Initializers {
		if f, err := x.Float32(); err == nil && len(x.Dims) == 1 && x.Dims[0] == 3 {
			f = append([]float32(nil), f...)
			f[0] += add
			m.Graph.SetInitializer(onnx.NewFloat32(x.Name, x.Dims, f))
			break
		}
	}
	if err := os.WriteFile(path, m.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// modelText runs `voxloop model` and returns what it prints.
func modelText(t *testing.T, args ...string) string {
	t.Helper()
	r := run(t, append([]string{"model"}, args...)...)
	if r.code != 0 {
		t.Fatalf("model %s: %d %s", strings.Join(args, " "), r.code, r.errOut)
	}
	return r.out
}

// inService returns the version that `voxloop model show --json` names, and
// how many versions there are.
func inService(t *testing.T, where ...string) (id string, n int) {
	t.Helper()
	var v struct {
		InService string `json:"in_service"`
		Versions  []struct{ Version string }
	}
	text := modelText(t, append([]string{"show", "hippocampus", "--json"}, where...)...)
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v.InService, len(v.Versions)
}

// TestModelVersions goes through the life of versions, first at a running
// server, then on its state folder without one.
func TestModelVersions(t *testing.T) {
	orttest.Runtime(t)
	dir := studies(t)
	s := serve(t, "--app", "radiology", "--studies", dir, "--device", "cpu", "--log_format", "json")
	if code, text := get(t, s.url+"readyz?models=1"); code != 200 {
		t.Fatal(text)
	}
	at := []string{"--server", s.url}
	with := func(where []string, args ...string) []string { return append(args, where...) }
	own, _ := inService(t, at...)
	modelText(t, with(at, "put", "hippocampus", otherModel(t, 0.5), "--reason", "first")...)
	first, n := inService(t, at...)
	if first == own || n != 2 {
		t.Fatalf("after a put %s is in service, of %d versions", first, n)
	}
	modelText(t, with(at, "put", "hippocampus", filepath.Join(otherModel(t, 1), infer.NetworkFile))...)
	second, _ := inService(t, at...)
	text := modelText(t, with(at, "show", "hippocampus")...)
	for _, want := range []string{"* " + second + "  in service, put ", "  " + first + "  ready, next on a rollback, put ", own, "the app's own", ", first\n", "app → " + first[:8] + "  put: first"} {
		if !strings.Contains(text, want) {
			t.Errorf("show lacks %q:\n%s", want, text)
		}
	}
	if text := modelText(t, with(at, "rollback", "hippocampus", "--reason", "worse")...); !strings.Contains(text, first) {
		t.Errorf("rollback prints %s", text)
	}
	modelText(t, with(at, "pin", "hippocampus", second[:6])...)
	if text := modelText(t, with(at, "show", "hippocampus", second[:6])...); !strings.Contains(text, "pinned       true") {
		t.Errorf("a pinned version is shown as\n%s", text)
	}
	if text := modelText(t, with(at, "card", "hippocampus")...); !strings.HasPrefix(text, "# Model card: hippocampus, version "+first) {
		t.Errorf("the card is\n%s", text)
	}
	if text := modelText(t, with(at, "card", "hippocampus", second[:8], "--json")...); !strings.Contains(text, `"version":"`+second) {
		t.Errorf("the card of another version is\n%s", text)
	}
	if text := modelText(t, with(at, "shadow", "hippocampus", second[:8])...); !strings.HasPrefix(text, second+" runs beside "+first) || !strings.Contains(text, "0 cases") {
		t.Errorf("shadow prints %s", text)
	}
	modelText(t, with(at, "shadow", "hippocampus", "--stop")...)
	if text := modelText(t, with(at, "shadow", "hippocampus")...); !strings.HasPrefix(text, second+" ran (somebody ended it) beside "+first) {
		t.Errorf("shadow prints %s", text)
	}
	if text := modelText(t, with(at, "list")...); !strings.Contains(text, "hippocampus\n") || !strings.Contains(text, "* "+first) {
		t.Errorf("list prints\n%s", text)
	}
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{1, "409", with(at, "retire", "hippocampus", second)},
		{1, "404", with(at, "publish", "hippocampus", "ffffffff")},
		{1, "no version", with(at, "show", "hippocampus", "ffffffff")},
		{1, "no version", with(at, "card", "hippocampus", "ffffffff")},
		{1, "409", with(at, "shadow", "hippocampus", first)},
		{2, "leave out the version", with(at, "shadow", "hippocampus", first, "--stop")},
		{2, "needs the name of a model", with(at, "card")},
		{1, "is the server running there", []string{"list", "--server", "http://127.0.0.1:1"}},
		{1, "ask it with --server", []string{"list", "--studies", dir}},
		{1, "no state folder", []string{"list", "--studies", t.TempDir()}},
		{1, "neither a network nor a folder", with(at, "put", "hippocampus", dir)},
		{2, "give one of them", with(at, "list", "--studies", dir)},
		{2, "model publish MODEL VERSION", with(at, "publish", "hippocampus")},
		{2, "--server", []string{"list", "--server", "here"}},
	} {
		if r := run(t, append([]string{"model"}, c.args...)...); r.code != c.code || !strings.Contains(r.errOut, c.want) {
			t.Errorf("model %s: %d %q, want %d and %q", strings.Join(c.args, " "), r.code, r.errOut, c.code, c.want)
		}
	}
	if code := s.stop(); code != 0 {
		t.Fatalf("the server ended with %d", code)
	}
	off := []string{"--studies", dir, "--device", "cpu"}
	if id, n := inService(t, off...); id != first || n != 3 {
		t.Errorf("without the server %s is in service, of %d", id, n)
	}
	modelText(t, with(off, "unpin", "hippocampus", second)...)
	modelText(t, with(off, "publish", "hippocampus", second, "--reason", "by hand")...)
	modelText(t, with(off, "rollback", "hippocampus")...)
	if text := modelText(t, with(off, "put", "hippocampus", otherModel(t, 2))...); !strings.Contains(text, "unavailable") {
		t.Errorf("put prints\n%s", text)
	}
	if id, n := inService(t, off...); id != first || n != 4 {
		t.Errorf("after publish, rollback and put %s is in service, of %d", id, n)
	}
	if text := modelText(t, with(off, "retire", "hippocampus", second)...); !strings.Contains(text, "deleted: 1\n  "+second) {
		t.Errorf("retire prints\n%s", text)
	}
	modelText(t, with(off, "retire", "hippocampus")...)
	if r := run(t, append([]string{"model", "show", "spleen"}, off...)...); r.code != 1 || !strings.Contains(r.errOut, "it has hippocampus") {
		t.Errorf("an unknown model: %d %s", r.code, r.errOut)
	}
}
