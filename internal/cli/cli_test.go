package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/internal/cli"
)

// result is what one command did.
type result struct {
	code        int
	out, errOut string
}

func run(t *testing.T, args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	code := cli.Run(t.Context(), args, strings.NewReader(""), &out, &errOut)
	return result{code, out.String(), errOut.String()}
}

// A failing command says one line, "voxloop: …", naming what was wrong.
func TestWrongUsage(t *testing.T) {
	t.Chdir(t.TempDir())
	image := filepath.Join(t.TempDir(), "absent.nii.gz")
	if err := os.WriteFile("bad.yaml", []byte("prot: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		args string
		code int
		want string // in the error line
	}{
		{"", 2, "name a command"},
		{"frobnicate", 2, `unknown command "frobnicate"`},
		{"serve", 2, "app: "},
		{"serve --app radiology", 2, "studies: "},
		{"serve --app radiology --studies x --port 99999", 2, "port: 99999"},
		{"serve --app radiology --studies x --port abc", 2, "port"},
		{"serve --app radiology --studies x --device tpu", 2, "device: "},
		{"serve --app radiology --studies x --conf models", 2, "needs a value"},
		{"serve --app radiology --studies x --nonsense", 2, "nonsense"},
		{"serve --app radiology --studies x extra", 2, `"extra"`},
		{"serve --app radiology --studies x --config bad.yaml", 2, `unknown key "prot"`},
		{"serve --app radiology --studies x --config none.yaml", 2, "none.yaml"},
		{"serve --app radiology --studies http://pacs/dicom-web", 2, "studies: "},
		{"serve --app radiology --studies x --ssl_certfile c.pem", 2, "tls: "},
		{"serve --app none --studies x", 1, `app "none"`},
		{"start_server", 2, "app: "},
		{"infer", 2, "--model"},
		{"infer --model hippocampus", 2, "--image"},
		{"infer --model hippocampus --image " + image, 2, "--out"},
		{"infer --model hippocampus --image " + image + " --out x.png", 2, "x.png"},
		{"infer --model hippocampus --image - --image - --out x.nii", 2, "standard input"},
		{"infer --model hippocampus --image " + image + " --out x.nii --device tpu", 2, "tpu"},
		{"infer --model hippocampus --image " + image + " --out x.nii --param sw_overlap=7", 2, "sw_overlap"},
		{"infer --model hippocampus --image " + image + " --out x.nii --param sw_overlap", 2, "sw_overlap"},
		{"infer --model hippocampus --image " + image + " --out x.nii", 1, "absent.nii.gz"},
		{"runtime", 2, "install, show"},
		{"runtime remove", 2, "runtime remove"},
		{"runtime show --gpu --ort x", 2, "--ort"},
		{"runtime show --ort none.so", 1, "none.so"},
		{"phantom", 2, "--out"},
		{"phantom --out x --n 0", 2, "--n 0"},
		{"app", 2, "init"},
		{"app init", 2, "folder"},
		{"app init a b", 2, "folder"},
		{"app init a --app none", 2, "radiology"},
		{"version extra", 2, `"extra"`},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			r := run(t, strings.Fields(tt.args)...)
			if r.code != tt.code {
				t.Errorf("exit code %d, want %d", r.code, tt.code)
			}
			if !strings.HasPrefix(r.errOut, "voxloop: ") || strings.Count(r.errOut, "\n") != 1 || !strings.Contains(r.errOut, tt.want) {
				t.Errorf("standard error %q; want one line, voxloop: …%s…", r.errOut, tt.want)
			}
			if r.out != "" {
				t.Errorf("standard output %q, want none", r.out)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	r := run(t, "version", "--json")
	var v map[string]string
	if err := json.Unmarshal([]byte(r.out), &v); err != nil || r.code != 0 {
		t.Fatalf("exit code %d, output %q: %v", r.code, r.out, err)
	}
	if !strings.HasPrefix(v["go"], "go1.") || !strings.Contains(v["platform"], "/") {
		t.Errorf("version = %v", v)
	}
	if r := run(t, "version"); r.code != 0 || !strings.HasPrefix(r.out, "voxloop ") {
		t.Errorf("exit code %d, output %q", r.code, r.out)
	}
}

func TestHelpNamesCommands(t *testing.T) {
	r := run(t, "help")
	for _, name := range []string{"serve", "infer", "runtime", "phantom", "app", "version"} {
		if !strings.Contains(r.out, "\n  "+name+" ") {
			t.Errorf("help does not name %s", name)
		}
	}
	if r.code != 0 {
		t.Errorf("exit code %d", r.code)
	}
}

func TestPhantom(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "studies")
	if r := run(t, "phantom", "--out", dir, "--n", "2", "--seed", "5"); r.code != 0 || r.errOut != "" {
		t.Fatalf("exit code %d, %q", r.code, r.errOut)
	}
	for _, name := range []string{"phantom_0002.nii.gz", filepath.Join(".truth", "phantom_0002.nii.gz")} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestAppInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "myapp")
	if r := run(t, "app", "init", dir); r.code != 0 {
		t.Fatalf("exit code %d, %q", r.code, r.errOut)
	}
	f, err := apps.ReadFile(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range f.Models {
		for _, name := range []string{"model.onnx", "manifest.yaml"} {
			if info, err := os.Stat(filepath.Join(dir, m.Path, name)); err != nil || info.Size() == 0 {
				t.Errorf("%s of model %s: %v", name, m.Name, err)
			}
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(entries) != 1 {
		t.Errorf("beside the app lie %v, %v; want nothing", entries, err)
	}

	before, err := os.ReadFile(filepath.Join(dir, "app.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "app.yaml"), append(before, "# mine\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := run(t, "app", "init", dir); r.code != 1 || !strings.Contains(r.errOut, "not empty") {
		t.Errorf("a second time: exit code %d, %q", r.code, r.errOut)
	}
	if after, err := os.ReadFile(filepath.Join(dir, "app.yaml")); err != nil || !bytes.HasSuffix(after, []byte("# mine\n")) {
		t.Errorf("the changed file was touched: %v", err)
	}
}

func TestAppInitTakesEmptyFolder(t *testing.T) {
	dir := t.TempDir()
	if r := run(t, "app", "init", dir); r.code != 0 {
		t.Fatalf("exit code %d, %q", r.code, r.errOut)
	}
	if _, err := apps.ReadFile(os.DirFS(dir)); err != nil {
		t.Error(err)
	}
}
