package local

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/internal/testkit"
)

// labIndex is an index as a lab has it after a year with MONAI Label: keys of
// other versions and of the lab at every level, and text that Python escapes.
const labIndex = `{
  "name": "liver-study",
  "description": "Leber \u00fc \ud83d\ude00 \u007f <b>&amp;</b>",
  "lab_top": {
    "z": [],
    "a": {}
  },
  "images_dir": ".",
  "labels_dir": "labels",
  "objects": {
    "zeta": {
      "image": {
        "ext": ".nii.gz",
        "info": {
          "ts": 1795414605,
          "name": "zeta.nii.gz",
          "checksum": "SHA256:00",
          "dice": 0.910,
          "strategy": {
            "random": {
              "ts": 1795414756,
              "client_id": "user-xyz"
            }
          }
        },
        "lab_image": true
      },
      "labels": {
        "version_10": {
          "ext": ".nrrd",
          "info": {
            "name": "zeta.nrrd"
          }
        },
        "final": {
          "ext": ".nrrd",
          "info": {
            "label_info": [
              {
                "name": "spleen",
                "idx": 1
              }
            ],
            "ts": 1
          },
          "lab_label": null
        }
      },
      "lab_object": "x"
    },
    "alpha.b": {
      "image": {
        "ext": ".nrrd",
        "info": {
          "ts": 2
        }
      },
      "labels": {}
    }
  },
  "lab_last": 1.50
}`

// labFolder makes a studies folder with labIndex and the files it names.
func labFolder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, indexName), labIndex)
	for _, n := range []string{"zeta.nii.gz", "alpha.b.nrrd", "labels/final/zeta.nrrd", "labels/version_10/zeta.nrrd"} {
		writeFile(t, filepath.Join(dir, n), n)
	}
	return dir
}

func TestTakeoverKeepsEverything(t *testing.T) {
	dir := labFolder(t)
	for round := range 2 {
		s := open(t, Options{Studies: dir})
		if s.Name() != "liver-study" || !strings.HasPrefix(s.Description(), "Leber ü 😀") {
			t.Errorf("name %q, description %q", s.Name(), s.Description())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if got := content(t, filepath.Join(dir, indexName)); got != labIndex {
			t.Fatalf("round %d: the index came back as\n%s", round, got)
		}
	}
	s := open(t, Options{Studies: dir})
	defer s.Close()
	img, err := s.Image("zeta")
	if err != nil {
		t.Fatal(err)
	}
	if len(img.Labels) != 2 || img.Labels[0].Tag != "version_10" || img.Labels[1].Tag != "final" {
		t.Errorf("labels %+v", img.Labels)
	}
	if ts := img.Info.Sub("strategy").Sub("random"); ts.String("client_id") != "user-xyz" {
		t.Errorf("info %v", img.Info.Keys())
	}
	if st := s.Stats(); st.Total != 2 || st.Completed != 1 || len(st.Tags) != 2 {
		t.Errorf("stats %+v", st)
	}
}

// TestReference reads our file back as the reference does: with Python's json,
// whose own dump must give the same bytes.
func TestReference(t *testing.T) {
	python := testkit.NeedTool(t, "python3", "install Python 3")
	dir := labFolder(t)
	writeFile(t, filepath.Join(dir, "neu.nii"), "x")
	s := open(t, Options{Studies: dir})
	_, err := s.SaveLabel(t.Context(), "neu", "final", datastore.LabelFile{
		Ext: ".nii.gz", Info: ordered.Of("größe", []any{1.5, "ä\u2028\x7f\"\\\n", nil}, "leer", &ordered.Map{}), Write: bytesWriter("m"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	const script = `
import json, os, sys
root = sys.argv[1]
text = open(os.path.join(root, "datastore_v2.json"), encoding="ascii").read()
d = json.loads(text)
for id, o in d["objects"].items():
    assert set(o) >= {"image", "labels"}, id
    assert os.path.isfile(os.path.join(root, d["images_dir"], id + o["image"]["ext"])), id
    assert isinstance(o["image"]["info"], dict), id
    for tag, l in o["labels"].items():
        assert os.path.isfile(os.path.join(root, d["labels_dir"], tag, id + l["ext"])), (id, tag)
        assert isinstance(l["info"], dict), (id, tag)
assert list(d["objects"]) == ["zeta", "alpha.b", "neu"], list(d["objects"])
d["lab_last"] = None; d["objects"]["zeta"]["image"]["info"]["dice"] = None
for old in ("1.50", "0.910"):
    assert text.count(old) == 1
    text = text.replace(old, "null")
assert json.dumps(d, indent=2) == text
print("ok", d["objects"]["neu"]["labels"]["final"]["info"]["größe"][1] == 'ä\u2028\x7f"\\\n')
`
	cmd := exec.CommandContext(t.Context(), python, "-c", script, dir)
	cmd.Env = append(os.Environ(), "PYTHONIOENCODING=utf-8")
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "ok True\n" {
		t.Errorf("%v: %s", err, out)
	}
}

// TestRecordedIndex takes over the index that the reference's server showed.
func TestRecordedIndex(t *testing.T) {
	raw, err := os.ReadFile(testkit.Shared(t, "golden", "protocol", "077-datastore-all-after.txt"))
	if err != nil {
		t.Fatal(err)
	}
	_, body, ok := bytes.Cut(raw, []byte("BODY:\n"))
	if !ok {
		t.Fatal("the recording has no body")
	}
	body = bytes.TrimSpace(body)
	dir := t.TempDir()
	f := filepath.Join(dir, indexName)
	writeFile(t, f, string(body))
	index, err := readForeign(f)
	if err != nil {
		t.Fatal(err)
	}
	for id, o := range index.objects {
		writeFile(t, filepath.Join(dir, id+o.ext), id)
		for _, l := range o.labels {
			writeFile(t, filepath.Join(dir, "labels", l.tag, id+l.ext), id)
		}
	}
	s := open(t, Options{Studies: dir})
	defer s.Close()
	var got bytes.Buffer
	if err := s.Index(&got); err != nil {
		t.Fatal(err)
	}
	if got.String() != string(body) {
		t.Errorf("got  %s\nwant %s", got.String(), body)
	}
	st, err := json.Marshal(s.Stats())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"Total":7,"Completed":4,"Tags":[{"Tag":"final","Count":4},{"Tag":"original","Count":1},{"Tag":"draft","Count":1}],"Quarantined":0}`
	if string(st) != want {
		t.Errorf("stats %s\nwant  %s", st, want)
	}
}

func TestFoldersOfTheIndex(t *testing.T) {
	outside := t.TempDir()
	tests := []struct {
		name, images, labels string
		link                 string // a link of this name leads out of the studies folder
		kind                 fault.Kind
	}{
		{"elsewhere inside", "img/ct", "masks", "", fault.Internal},
		{"missing keys", "", "", "", fault.Internal},
		{"parent", "..", "labels", "", fault.Invalid},
		{"hidden parent", "a/../../b", "labels", "", fault.Invalid},
		{"absolute", "/etc", "labels", "", fault.Invalid},
		{"labels outside", ".", "../labels", "", fault.Invalid},
		{"linked out", "pics", "labels", "pics", fault.Invalid},
		{"labels linked out", ".", "labels", "labels", fault.Invalid},
		{"our own state", StateDir, "labels", "", fault.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			top := emptyTop()
			top.Set("images_dir", tt.images).Set("labels_dir", tt.labels)
			raw, err := ordered.Marshal(top)
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(dir, indexName), string(raw))
			if tt.link != "" {
				if err := os.Symlink(outside, filepath.Join(dir, tt.link)); err != nil {
					t.Fatal(err)
				}
			}
			s, err := Open(t.Context(), Options{Studies: dir, Logger: quietLog})
			if tt.kind != fault.Internal {
				if fault.KindOf(err) != tt.kind || !strings.Contains(err.Error(), indexName) {
					t.Errorf("error %v, want kind %v", err, tt.kind)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if _, err := s.AddImage(t.Context(), "a", ".nii", nil, bytesWriter("x")); err != nil {
				t.Fatal(err)
			}
			l := saveText(t, s, "a", "final", ".nii", "y")
			labels := tt.labels
			if labels == "" {
				labels = "labels"
			}
			if want := filepath.Join(s.studies, labels, "final", "a.nii"); l.Path != want {
				t.Errorf("label at %s, want %s", l.Path, want)
			}
			if content(t, filepath.Join(dir, tt.images, "a.nii")) != "x" {
				t.Error("the image lies elsewhere")
			}
		})
	}
	if got, _ := filepath.Glob(filepath.Join(outside, "*")); len(got) > 0 {
		t.Errorf("written outside: %v", got)
	}
}

func TestDamagedIndexFile(t *testing.T) {
	dir := labFolder(t)
	writeFile(t, filepath.Join(dir, indexName), labIndex[:len(labIndex)/2])
	s := open(t, Options{Studies: dir})
	if st := s.Stats(); st.Total != 2 || st.Completed != 1 {
		t.Errorf("stats %+v", st)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !json.Valid([]byte(content(t, filepath.Join(dir, indexName)))) {
		t.Error("the index file was not rebuilt")
	}
	if got := content(t, filepath.Join(dir, StateDir, "datastore_v2.damaged.json")); got != labIndex[:len(labIndex)/2] {
		t.Error("the damaged file was not kept")
	}
}

// TestEditedWhileRunning edits the index file as another program would.
func TestEditedWhileRunning(t *testing.T) {
	dir := labFolder(t)
	s := open(t, Options{Studies: dir, Debounce: 10 * time.Millisecond})
	defer s.Close()
	eventually(t, "the first rewrite", func() bool { return settled(s) })
	path := filepath.Join(dir, indexName)
	edited := strings.Replace(content(t, path), `"dice": 0.910`, `"dice": 0.5, "reviewer": "r1"`, 1)
	edited = strings.Replace(edited, `"lab_object": "x"`, `"lab_object": "y"`, 1)
	writeFile(t, path, edited)
	eventually(t, "the edit", func() bool {
		img, err := s.Image("zeta")
		return err == nil && img.Info.String("reviewer") == "r1"
	})
	eventually(t, "the rewrite", func() bool { return settled(s) })
	got := content(t, path)
	for _, want := range []string{`"dice": 0.5`, `"lab_object": "y"`, `"lab_label": null`, `"lab_last": 1.50`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing in\n%s", want, got)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a new file", func() bool { _, err := os.Stat(path); return err == nil })
}

// settled reports whether the index file on disk is the store's own and says
// everything.
func settled(s *Store) bool {
	s.indexMu.Lock()
	defer s.indexMu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	return printOf(filepath.Join(s.studies, indexName)) == s.index.Current && len(s.unwritten) == 0 && !s.topDirty
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("%s did not happen within 10 s", what)
}

// TestEditAgainstUnwritten edits an entry that changed since the last rewrite:
// ours stays, what we do not have is added.
func TestEditAgainstUnwritten(t *testing.T) {
	dir := labFolder(t)
	s := open(t, Options{Studies: dir, Debounce: 2 * time.Second, Rescan: time.Hour})
	defer s.Close()
	if err := s.flush(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if err := s.UpdateImageInfo(t.Context(), "zeta", ordered.Of("dice", 0.7)); err != nil {
		t.Fatal(err)
	}
	edited := strings.Replace(content(t, filepath.Join(dir, indexName)), `"dice": 0.910`, `"dice": 0.1, "theirs": 1`, 1)
	writeFile(t, filepath.Join(dir, indexName), edited)
	if err := s.flush(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	img, err := s.Image("zeta")
	if err != nil {
		t.Fatal(err)
	}
	dice, _ := img.Info.Get("dice")
	_, added := img.Info.Get("theirs")
	if dice != json.Number("0.7") || !added {
		t.Errorf("dice %v, their key there: %v", dice, added)
	}
}
