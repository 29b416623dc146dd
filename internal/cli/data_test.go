package cli_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/phantom"
)

// phantomTar packs n labelled phantoms as an archive of the Decathlon.
func phantomTar(t *testing.T, n int) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := phantom.WriteCases(t.Context(), dir, n, 1); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(name string, data []byte) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	for i := 1; i <= n; i++ {
		for folder, from := range map[string]string{"imagesTr": dir, "labelsTr": filepath.Join(dir, phantom.TruthDir)} {
			data, err := os.ReadFile(filepath.Join(from, phantom.Name(i)))
			if err != nil {
				t.Fatal(err)
			}
			add("Task99_Phantom/"+folder+"/"+phantom.Name(i), data)
		}
	}
	add("Task99_Phantom/dataset.json", []byte(`{"labels": {"0": "background", "1": "anterior", "2": "posterior"}, "modality": {"0": "MRI"}}`))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A set is fetched from a server, verified, and used without naming its labels;
// then a file changes, and that is told.
func TestData(t *testing.T) {
	archive := phantomTar(t, 2)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "p.tar", time.Time{}, bytes.NewReader(archive))
	}))
	defer s.Close()
	dir := filepath.Join(t.TempDir(), "studies")
	r := run(t, "data", "fetch", "decathlon-layout", "--url", s.URL+"/p.tar", "--out", dir)
	if r.code != 0 {
		t.Fatal(r.errOut)
	}
	for _, want := range []string{"2 images, 2 of them labelled\n", "labels: anterior=1, posterior=2\n", "archive: p.tar, SHA-256 "} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is not said:\n%s", want, r.out)
		}
	}
	if r := run(t, "data", "fetch", "decathlon-layout", "--url", s.URL+"/p.tar", "--out", dir); r.code != 0 || !strings.Contains(r.out, "already") {
		t.Errorf("a second time: %+v", r)
	}
	if r := run(t, "data", "verify", dir); r.code != 0 || !strings.Contains(r.out, "2 cases, 4 files, all as recorded") {
		t.Errorf("%+v", r)
	}
	r = run(t, "model", "new", "--studies", dir, "--minutes", "3", "--cores", "2", "--out", filepath.Join(t.TempDir(), "m"))
	if r.code != 0 || !strings.Contains(r.out, "anterior, in 2 cases") || !strings.Contains(r.out, "the labels' records") {
		t.Errorf("model new does not know the labels: %+v", r)
	}
	label := filepath.Join(dir, "labels", "final", phantom.Name(2))
	if err := os.WriteFile(label, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	r = run(t, "data", "verify", dir, "--json")
	var said struct {
		Cases    int
		Problems []struct{ Path, Reason string }
	}
	if err := json.Unmarshal([]byte(r.out), &said); err != nil || r.code != 1 || said.Cases != 2 || len(said.Problems) != 1 ||
		said.Problems[0].Path != "labels/final/"+phantom.Name(2) || !strings.Contains(r.errOut, "1 problems in 4 files") {
		t.Errorf("%+v, %v", r, err)
	}
	if r := run(t, "data", "verify", dir); r.code != 1 || !strings.Contains(r.out, "labels/final/"+phantom.Name(2)+": it has 1 bytes") {
		t.Errorf("%+v", r)
	}
}

func TestDataList(t *testing.T) {
	r := run(t, "data", "list", "--json")
	var sets []struct {
		Name, URL, MD5 string
		Labels         []struct{ Name string }
	}
	if err := json.Unmarshal([]byte(r.out), &sets); err != nil || len(sets) < 19 || sets[3].Name != "Task04_Hippocampus" || sets[3].Labels[1].Name != "posterior" {
		t.Errorf("%v, %+v", err, sets)
	}
	if r := run(t, "data", "list"); r.code != 0 || strings.Count(r.out, "\n") != len(sets)+1 || !strings.Contains(r.out, "by hand") {
		t.Errorf("%+v", r)
	}
	if r := run(t, "data", "list", "btcv", "amos22-mr"); r.code != 0 || !strings.Contains(r.out, "sign up") || !strings.Contains(r.out, "none is published") {
		t.Errorf("%+v", r)
	}
}

func TestDataRefuses(t *testing.T) {
	out := filepath.Join(t.TempDir(), "s")
	archive := filepath.Join(t.TempDir(), "a.tar")
	if err := os.WriteFile(archive, phantomTar(t, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		args []string
		code int
		want string
	}{
		{[]string{"data"}, 2, "list, fetch, verify"},
		{[]string{"data", "list", "none"}, 1, `no data set "none"`},
		{[]string{"data", "fetch"}, 2, "name of one data set"},
		{[]string{"data", "fetch", "btcv"}, 2, "--out"},
		{[]string{"data", "fetch", "btcv", "--out", out}, 1, "sign up"},
		{[]string{"data", "fetch", "none", "--out", out}, 1, "Task04_Hippocampus"},
		{[]string{"data", "fetch", "btcv", "--out", out, "--from", "a", "--url", "b"}, 2, "give one of them"},
		{[]string{"data", "fetch", "btcv", "--out", out, "--from", "a", "--keep"}, 2, "--keep"},
		{[]string{"data", "fetch", "btcv", "--out", out, "--from", "a", "--labels", "spleen=0"}, 2, "1..65535"},
		{[]string{"data", "fetch", "btcv", "--out", out, "--from", "a", "--labels", "spleen,spleen"}, 2, "came before"},
		{[]string{"data", "fetch", "btcv", "--out", out, "--from", "a", "--labels", "spleen=1,liver=1"}, 2, "came before"},
		{[]string{"data", "fetch", "btcv", "--out", out, "--from", "absent"}, 1, "absent"},
		{[]string{"data", "fetch", "Task04_Hippocampus", "--out", out, "--from", archive}, 1, "not 9d24dba78a72977dbd1d2e110310f31b"},
		{[]string{"data", "verify"}, 2, "one folder"},
		{[]string{"data", "verify", t.TempDir()}, 1, "voxloop data fetch"},
	}
	for _, tt := range tests {
		if r := run(t, tt.args...); r.code != tt.code || !strings.Contains(r.errOut, tt.want) || strings.Count(r.errOut, "voxloop: ") != 1 {
			t.Errorf("%q: exit code %d, %q; want %d, %q", tt.args, r.code, r.errOut, tt.code, tt.want)
		}
	}
	if _, err := os.Stat(out); !os.IsNotExist(err) {
		t.Errorf("a folder was made: %v", err)
	}
}
