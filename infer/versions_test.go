package infer

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/testkit"
)

// stepNetwork labels 1 where x < at.
func stepNetwork(at float32) []byte {
	m := onnx.NewModel(17)
	m.AddInput("x", onnx.Float32, -1, 1, -1, -1, -1)
	m.AddInitializer(onnx.NewFloat32("w", []int64{2, 1, 1, 1, 1}, []float32{1, -1}))
	m.AddInitializer(onnx.NewFloat32("b", []int64{2}, []float32{0, 2 * at}))
	m.AddNode("Conv", []string{"x", "w", "b"}, []string{"y"})
	m.AddOutput("y", onnx.Float32, -1, 2, -1, -1, -1)
	return m.Bytes()
}

// stepModel is a model folder with a stepNetwork and whatever else.
func stepModel(at float32, more ...string) fstest.MapFS {
	fsys := fstest.MapFS{ManifestFile: {Data: []byte(smallManifest)}, NetworkFile: {Data: stepNetwork(at)}}
	for i := 0; i < len(more); i += 2 {
		fsys[more[i]] = &fstest.MapFile{Data: []byte(more[i+1])}
	}
	return fsys
}

func openShelf(t *testing.T, dir string) *Shelf {
	t.Helper()
	s, warning, err := OpenShelf(dir)
	if err != nil || warning != "" {
		t.Fatal(err, warning)
	}
	return s
}

func record1(t *testing.T, s *Shelf, fsys fstest.MapFS, c Cause) Version {
	t.Helper()
	v, err := s.Record(fsys, "", c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestShelfRecords(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "m")
	s := openShelf(t, dir)
	if all, err := s.Versions(); err != nil || len(all) != 0 {
		t.Fatalf("a shelf without a folder holds %v, %v", all, err)
	}
	why := Cause{Origin: OriginPut, Reason: "test"}
	a := record1(t, s, stepModel(0.25, "notes.txt", "private"), why)
	parent := strings.Repeat("ab", 16)
	b := record1(t, s, stepModel(0.5, TrainingFile, `{"parent":"`+parent+`","epochs":3}`), why)
	again := record1(t, s, stepModel(0.25), Cause{Origin: OriginTraining})
	if again.ID != a.ID || again.Origin != OriginPut || !again.Created.Equal(a.Created) {
		t.Errorf("the same content again is %+v, want the first record %+v", again, a)
	}
	all, err := s.Versions()
	if err != nil || len(all) != 2 {
		t.Fatalf("versions %v, %v", all, err)
	}
	if a.ID == b.ID || !isID(a.ID) || a.Checksum == b.Checksum || a.Bytes != int64(len(stepNetwork(0.25))) || a.Cause != why {
		t.Errorf("recorded %+v and %+v", a, b)
	}
	if b.Parent != parent || string(b.Training) == "" || a.Training != nil {
		t.Errorf("the trained one: parent %q, training %s", b.Parent, b.Training)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	slices.Sort(files)
	want := "manifest.yaml manifest.yaml model.onnx model.onnx training.json version.json version.json"
	if got := strings.Join(files, " "); got != want {
		t.Errorf("files %s, want %s", got, want)
	}
	// Whole ids, unique beginnings, the app's own.
	if id, err := s.Find(a.ID[:8]); err != nil || id != a.ID {
		t.Errorf("%s means %s, %v", a.ID[:8], id, err)
	}
	if id, err := s.Find(AppVersion); err != nil || id != AppVersion {
		t.Errorf("app means %s, %v", id, err)
	}
	for _, text := range []string{"", a.ID[:3], "../" + a.ID, strings.Repeat("z", 32)} {
		if _, err := s.Find(text); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%q means a version: %v", text, err)
		}
	}
}

// TestShelfRefuses leaves nothing behind of what is no model.
func TestShelfRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "m")
	s := openShelf(t, dir)
	channels := stepModel(0.5)
	channels[ManifestFile] = &fstest.MapFile{Data: []byte(edit("inputs", "inputs: [{source: image}, {source: image}]\n"))}
	for _, c := range []struct {
		name string
		fsys fstest.MapFS
		want string
		kind fault.Kind
	}{
		{"empty", fstest.MapFS{}, "no manifest.yaml", fault.NotFound},
		{"no network", fstest.MapFS{ManifestFile: {Data: []byte(smallManifest)}}, "no model.onnx", fault.NotFound},
		{"garbage", stepModel(0, NetworkFile, "no network"), "model.onnx is no readable network", fault.Invalid},
		{"channels", channels, "inputs: 2 channels are listed, but x takes 1", fault.Invalid},
		{"long training", stepModel(0, TrainingFile, strings.Repeat(" ", maxTraining+1)), "at most 16777216", fault.TooLarge},
	} {
		_, err := s.Record(c.fsys, "", Cause{})
		if fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v %v, want %v %q", c.name, fault.KindOf(err), err, c.kind, c.want)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestShelfMendsDamage replaces a damaged folder when its content comes again.
func TestShelfMendsDamage(t *testing.T) {
	dir := t.TempDir()
	s := openShelf(t, dir)
	v := record1(t, s, stepModel(0.5), Cause{Origin: OriginPut})
	write(t, filepath.Join(dir, v.ID, NetworkFile), stepNetwork(0.75))
	if again := record1(t, s, stepModel(0.5), Cause{Origin: OriginTraining}); again.ID != v.ID || again.Origin != OriginTraining {
		t.Errorf("recorded %+v", again)
	}
	if data, err := os.ReadFile(filepath.Join(dir, v.ID, NetworkFile)); err != nil || !bytes.Equal(data, stepNetwork(0.5)) {
		t.Errorf("the damaged network stays: %v", err)
	}
}

// TestPointer goes forward and back.
func TestPointer(t *testing.T) {
	p := &pointer{Version: AppVersion}
	for _, step := range []struct {
		id   string
		back bool
		want string
	}{
		{"a", false, "a: app"},
		{"b", false, "b: a app"},
		{"a", false, "a: b app"}, // an earlier one again
		{"b", true, "b: app"},
		{"app", true, "app:"},
		{"c", true, "c:"}, // not one of the earlier ones
	} {
		if step.back {
			p.back(step.id)
		} else {
			p.forward(step.id)
		}
		if got := strings.TrimSpace(p.Version + ": " + strings.Join(p.Previous, " ")); got != step.want {
			t.Fatalf("after %+v: %q", step, got)
		}
	}
}

// TestPointerSurvives reads back what was written, mends a pointer that cannot
// be read, and closes lines that a kill has torn.
func TestPointerSurvives(t *testing.T) {
	dir := t.TempDir()
	s := openShelf(t, dir)
	a, b := record1(t, s, stepModel(0.25), Cause{}), record1(t, s, stepModel(0.5), Cause{})
	swap := func(from, to string, noted bool) {
		t.Helper()
		w, err := s.point(Swap{Time: now(), From: from, To: to, Cause: Cause{Origin: OriginOperator}}, false)
		if err == nil && noted {
			err = s.note(w)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	swap(AppVersion, a.ID, true)
	swap(a.ID, b.ID, false) // killed before the history was written
	if err := os.Mkdir(filepath.Join(dir, comingPrefix+"1"), 0o750); err != nil {
		t.Fatal(err)
	}
	history := filepath.Join(dir, historyFile)
	data, err := os.ReadFile(history)
	if err != nil {
		t.Fatal(err)
	}
	write(t, history, append(data, `{"n":2,"ti`...)) // or in the middle of it
	s = openShelf(t, dir)
	for range 2 { // the second time changes nothing
		if err := s.Tidy(); err != nil {
			t.Fatal(err)
		}
	}
	if s.InService() != b.ID {
		t.Errorf("in service is %s, want %s", s.InService(), b.ID)
	}
	swaps, err := s.History()
	if err != nil || len(swaps) != 2 || swaps[1].N != 2 || swaps[1].To != b.ID {
		t.Errorf("history %+v, %v", swaps, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) != 0 {
		t.Errorf("litter: %v, %v", left, err)
	}
	write(t, filepath.Join(dir, pointerFile), []byte("{"))
	s, warning, err := OpenShelf(dir)
	if err != nil || !strings.Contains(warning, b.ID) || s.InService() != b.ID {
		t.Errorf("a damaged pointer: %q, %v, in service %s", warning, err, s.InService())
	}
	if current, previous := s.pointers(); current != b.ID || len(previous) != 2 || previous[0] != a.ID {
		t.Errorf("pointer from the history: %s %v", current, previous)
	}
}

func TestRetire(t *testing.T) {
	dir := t.TempDir()
	s := openShelf(t, dir)
	var ids []string
	for i := range 6 {
		ids = append(ids, record1(t, s, stepModel(float32(i)), Cause{}).ID)
		// Records of one millisecond have no order of their own.
		path := filepath.Join(dir, ids[i], versionFile)
		r := s.record(ids[i])
		r.Created = r.Created.AddDate(0, 0, i)
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, data)
	}
	for _, to := range []string{ids[3], ids[0], ids[2]} { // in service 2, before it 0 and 3
		if _, err := s.point(Swap{Time: now(), To: to}, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Pin(ids[1], true); err != nil {
		t.Fatal(err)
	}
	for id, why := range map[string]string{ids[2]: "is in service", ids[0]: "a rollback", ids[1]: "is pinned", AppVersion: "the app's own"} {
		if _, err := s.Retire(id); fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), why) {
			t.Errorf("retiring what %s: %v", why, err)
		}
	}
	gone, err := s.RetireOld(2) // 5 and 4 are the newest
	if err != nil || len(gone) != 1 || gone[0] != ids[3] {
		t.Errorf("retired %v, %v; want %s", gone, err, ids[3])
	}
	if _, previous := s.pointers(); slices.Contains(previous, ids[3]) {
		t.Error("a rollback would bring a deleted version back")
	}
	if err := s.Pin(ids[1], false); err != nil {
		t.Fatal(err)
	}
	if id, err := s.Retire(ids[1][:10]); err != nil || id != ids[1] {
		t.Errorf("retired %s, %v", id, err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*", ManifestFile))
	if err != nil || len(left) != 4 {
		t.Errorf("left %v, %v", left, err)
	}
}

// TestShelfDir keeps names of models inside the folder.
func TestShelfDir(t *testing.T) {
	for name, want := range map[string]string{"m": "x/m", ".": "x/%2E", "..": "x/%2E.", ".m": "x/%2Em"} {
		if got := ShelfDir("x", name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestNPY reads what NumPy reads, and refuses the rest.
func TestNPY(t *testing.T) {
	dir := t.TempDir()
	data := []float32{1, -2, 3.5, 0, float32(math.Inf(1)), 1e-38}
	if err := writeNPY(dir, "a.npy", []int64{1, 2, 3}, data); err != nil {
		t.Fatal(err)
	}
	shape, got, err := readNPY(os.DirFS(dir), "a.npy")
	if err != nil || !slices.Equal(shape, []int64{1, 2, 3}) || !slices.Equal(got, data) {
		t.Errorf("read back %v %v, %v", shape, got, err)
	}
	if a := testkit.ReadNPY(t, filepath.Join(dir, "a.npy")); !slices.Equal(a.F32(t), data) {
		t.Errorf("the tests' own reader reads %v", a)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "a.npy"))
	if err != nil {
		t.Fatal(err)
	}
	edit := func(from, to string) string { return strings.Replace(string(whole), from, to, 1) }
	for name, text := range map[string]string{
		"empty": "", "no magic": "x" + string(whole[1:]), "cut header": string(whole[:20]), "cut data": string(whole[:len(whole)-1]),
		"longer": string(whole) + "x", "other type": edit("<f4", "<f8"), "Fortran": edit("False", "True "), "huge": edit("(1, 2, 3,)", "(9999999, 9999999, 9999999,)"),
		"zero": edit("(1, ", "(0, "),
	} {
		if _, _, err := readNPY(fstest.MapFS{"a": {Data: []byte(text)}}, "a"); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := readNPY(fstest.MapFS{}, "a"); !os.IsNotExist(err) {
		t.Errorf("absent: %v", err)
	}
}
