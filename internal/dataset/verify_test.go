package dataset

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
)

// Every way in which a folder can differ from its record is named, by file.
func TestVerify(t *testing.T) {
	moved := imaging.Grid{Size: cube, Affine: imaging.Identity()}
	moved.Affine[2][3] = 3
	image, label := "phantom_0002.nii.gz", finalLabels+"/phantom_0002.nii.gz"
	write := func(name string, data []byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	// recorded makes the record agree with changed files: what is left are
	// mistakes of their content.
	recorded := func(change func(*testing.T, string)) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			change(t, dir)
			r, err := ReadRecord(dir)
			if err != nil {
				t.Fatal(err)
			}
			for i, f := range r.Files {
				s, err := hashing{}.file(t.Context(), filepath.Join(dir, filepath.FromSlash(f.Path)))
				if err != nil {
					t.Fatal(err)
				}
				r.Files[i].Bytes, r.Files[i].SHA256 = s.bytes, s.sha256
			}
			if err := writeJSON(filepath.Join(dir, RecordName), r); err != nil {
				t.Fatal(err)
			}
		}
	}
	both := func(a, b func(*testing.T, string)) func(*testing.T, string) {
		return func(t *testing.T, dir string) { a(t, dir); b(t, dir) }
	}
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := []struct {
		name   string
		change func(*testing.T, string)
		path   string // "": no problem
		reason string
	}{
		{"as it was", func(*testing.T, string) {}, "", ""},
		{"own files beside it", both(write("mine.nii.gz", grey(t)), write(finalLabels+"/mine.nii.gz", grey(t))), "", ""},
		{"image missing", remove(image), image, "it is missing"},
		{"label missing", remove(label), label, "it is missing"},
		{"other length", write(image, []byte("x")), image, "it has 1 bytes, not "},
		{"one byte", func(t *testing.T, dir string) {
			p := filepath.Join(dir, image)
			data, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			data[len(data)/2] ^= 1
			write(image, data)(t, dir)
		}, image, "it was changed: its SHA-256 is "},
		{"link", func(t *testing.T, dir string) {
			remove(image)(t, dir)
			if err := os.Symlink(filepath.Join(dir, "phantom_0001.nii.gz"), filepath.Join(dir, image)); err != nil {
				t.Fatal(err)
			}
		}, image, "it is no file"},
		{"unreadable image", recorded(write(image, []byte("hello"))), image, "neither NIfTI nor NRRD"},
		{"unreadable label", recorded(write(label, []byte("hello"))), label, "neither NIfTI nor NRRD"},
		{"another grid", recorded(both(write(image, grey(t)), write(label, volumeAt(t, moved, 1, func(int, int) int { return 1 })))), label, "not on the grid of its image"},
		{"undeclared value", recorded(both(write(image, grey(t)), write(label, classes(t, 3)))), label, "none of the set's: [3]"},
	}
	archive := tarOf(t, phantoms(t, 2)...)
	set := phantomSet(archive)
	from := file(t, "phantoms.tar", archive)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "out")
			if _, _, err := Fetch(t.Context(), set, Options{Out: dir, From: from}); err != nil {
				t.Fatal(err)
			}
			tt.change(t, dir)
			_, problems, err := Verify(t.Context(), dir, VerifyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if tt.path == "" {
				if len(problems) > 0 {
					t.Error(problems)
				}
				return
			}
			if len(problems) != 1 || problems[0].Path != tt.path || !strings.Contains(problems[0].Reason, tt.reason) {
				t.Errorf("%+v, want %s: %s", problems, tt.path, tt.reason)
			}
		})
	}
}

func TestRecords(t *testing.T) {
	for text, kind := range map[string]fault.Kind{
		"{":             fault.Invalid,
		`{"format": 9}`: fault.Invalid,
		`{"format": 1, "files": [{"path": "../x"}]}`: fault.Invalid,
		`{"format": 1, "files": [{"path": "/x"}]}`:   fault.Invalid,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, RecordName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := Verify(t.Context(), dir, VerifyOptions{})
		fails(t, err, kind)
	}
	_, _, err := Verify(t.Context(), t.TempDir(), VerifyOptions{})
	fails(t, err, fault.NotFound, "voxloop data fetch")
}

// The table holds together: names, values, addresses, checksums, and patterns
// that recognise the names in the real archives.
func TestSets(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Sets() {
		if low := strings.ToLower(s.Name); seen[low] || !checkID(s.Name) || s.Title == "" {
			t.Errorf("%q: name or title", s.Name)
		} else {
			seen[low] = true
		}
		if err := checkLabels(s.Labels); err != nil || len(s.Labels) == 0 && !s.Layout.Described {
			t.Errorf("%s: labels %v", s.Name, err)
		}
		if (s.URL == "") == (s.Access == "") || s.URL != "" && (!strings.HasPrefix(s.URL, "https://") || !strings.HasSuffix(s.URL, "/"+s.Archive) || s.About == 0) {
			t.Errorf("%s: address %q, access %q", s.Name, s.URL, s.Access)
		}
		if len(s.Labels) > 0 && (s.Licence == "" || s.Cite == "" || s.Home == "" || s.Cases == 0) {
			t.Errorf("%s: licence, citation, page or cases", s.Name)
		}
		for sum, n := range map[string]int{s.MD5: 32, s.SHA256: 64} {
			if sum != "" && (len(sum) != n || strings.Trim(sum, "0123456789abcdef") != "") {
				t.Errorf("%s: checksum %q", s.Name, sum)
			}
		}
		if _, err := json.Marshal(s); err != nil {
			t.Error(err)
		}
		s.Layout.matcher(true)
	}
	find := func(name string) Layout {
		s, err := Find(name)
		if err != nil {
			t.Fatal(err)
		}
		return s.Layout
	}
	tests := []struct {
		set, name string
		want      part // no role: not wanted
	}{
		{"task04_hippocampus", "Task04_Hippocampus/imagesTr/hippocampus_001.nii.gz", part{imageRole, "hippocampus_001", -1, "", ".nii.gz"}},
		{"Task04_Hippocampus", "./Task04_Hippocampus/labelsTr/hippocampus_001.nii.gz", part{labelRole, "hippocampus_001", -1, "", ".nii.gz"}},
		{"Task04_Hippocampus", "Task04_Hippocampus/imagesTs/hippocampus_002.nii.gz", part{unlabelledRole, "hippocampus_002", -1, "", ".nii.gz"}},
		{"Task04_Hippocampus", "Task04_Hippocampus/labelsTr/._hippocampus_001.nii.gz", part{}},
		{"Task04_Hippocampus", "Task04_Hippocampus/dataset.json", part{descriptionRole, "", -1, "", ".json"}},
		{"Task04_Hippocampus", "Task04_Hippocampus/imagesTr/notes.txt", part{}},
		{"nnunet-layout", "Dataset4/imagesTr/case_1_0001.nii.gz", part{imageRole, "case_1", 1, "", ".nii.gz"}},
		{"btcv", "RawData/Training/img/img0040.nii.gz", part{imageRole, "btcv_0040", -1, "", ".nii.gz"}},
		{"btcv", "RawData/Training/label/label0040.nii.gz", part{labelRole, "btcv_0040", -1, "", ".nii.gz"}},
		{"btcv", "RawData/Testing/img/img0061.nii.gz", part{unlabelledRole, "btcv_0061", -1, "", ".nii.gz"}},
		{"amos22-ct", "amos22/imagesTr/amos_0001.nii.gz", part{imageRole, "amos_0001", -1, "", ".nii.gz"}},
		{"amos22-ct", "amos22/labelsVa/amos_0500.nii.gz", part{labelRole, "amos_0500", -1, "", ".nii.gz"}},
		{"amos22-ct", "amos22/imagesTr/amos_0501.nii.gz", part{}},
		{"amos22-mr", "amos22/imagesTr/amos_0507.nii.gz", part{imageRole, "amos_0507", -1, "", ".nii.gz"}},
		{"amos22-mr", "amos22/imagesTr/amos_0600.nii.gz", part{imageRole, "amos_0600", -1, "", ".nii.gz"}},
		{"amos22-mr", "amos22/imagesTr/amos_0500.nii.gz", part{}},
		{"totalsegmentator", "s0000/ct.nii.gz", part{imageRole, "s0000", -1, "", ".nii.gz"}},
		{"totalsegmentator", "s0000/segmentations/rib_left_1.nii.gz", part{maskRole, "s0000", -1, "rib_left_1", ".nii.gz"}},
		{"brats2021", "./BraTS2021_00495/BraTS2021_00495_t1ce.nii.gz", part{imageRole, "BraTS2021_00495", 2, "", ".nii.gz"}},
		{"brats2023-gli", "X/BraTS-GLI-00000-000/BraTS-GLI-00000-000-t2w.nii.gz", part{imageRole, "BraTS-GLI-00000-000", 3, "", ".nii.gz"}},
		{"brats2023-gli", "X/BraTS-GLI-00000-000/BraTS-GLI-00000-000-seg.nii.gz", part{labelRole, "BraTS-GLI-00000-000", -1, "", ".nii.gz"}},
	}
	for _, tt := range tests {
		got, ok := find(tt.set).matcher(true).match(tt.name)
		if !ok {
			got = part{}
		}
		if got != tt.want {
			t.Errorf("%s: %s is %+v, want %+v", tt.set, tt.name, got, tt.want)
		}
	}
	if l := totalSegmentator()[0].Labels; len(l) != 117 || l[50].Name != "heart" || l[116].Name != "costal_cartilages" || !slices.Contains(l, Label{"brain", 90}) {
		t.Errorf("%d classes of TotalSegmentator", len(l))
	}
	_, err := Find("task4")
	fails(t, err, fault.NotFound, "Task04_Hippocampus")
}
