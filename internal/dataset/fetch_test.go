package dataset

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
)

// A set is downloaded, unpacked and laid out; the same archive gives the same
// bytes; what is there already is left alone.
func TestFetch(t *testing.T) {
	entries := phantoms(t, 3)
	archive := tarOf(t, entries...)
	s := serve(t, archive)
	set := phantomSet(archive)
	set.URL = s.URL + "/phantoms.tar"
	base := t.TempDir()
	out := filepath.Join(base, "studies")
	r, again, err := Fetch(t.Context(), set, Options{Out: out})
	if err != nil || again {
		t.Fatal(again, err)
	}
	files := tree(t, out)
	want := []string{
		"datastore_v2.json", "labels/final/phantom_0001.nii.gz", "labels/final/phantom_0002.nii.gz", "labels/final/phantom_0003.nii.gz",
		"phantom_0001.nii.gz", "phantom_0002.nii.gz", "phantom_0003.nii.gz", "voxloop-dataset.json",
	}
	if got := slices.Sorted(maps.Keys(files)); !slices.Equal(got, want) {
		t.Errorf("files %q", got)
	}
	for _, e := range entries {
		name := filepath.Base(e.name)
		switch {
		case strings.HasPrefix(name, "._") || !strings.HasSuffix(name, ".gz"):
		case strings.Contains(e.name, "imagesTr"):
			if data, _ := os.ReadFile(filepath.Join(out, name)); string(data) != string(e.data) {
				t.Errorf("the image %s was changed", name)
			}
		case strings.Contains(e.name, "labelsTr"):
			if data, _ := os.ReadFile(filepath.Join(out, "labels", "final", name)); string(data) != string(e.data) {
				t.Errorf("the label of %s was changed", name)
			}
		}
	}
	if len(r.Cases) != 3 || len(r.Files) != 6 || len(r.LeftOut) != 0 || r.Archive.MD5 != set.MD5 || r.Archive.URL != set.URL ||
		r.Labels["posterior"] != 2 || r.Files[0].SHA256 != files[r.Files[0].Path] {
		t.Errorf("record %+v", r)
	}
	absent(t, WorkFolder(out))
	// Names of values, in the place where proposals that were saved have them.
	var index struct {
		Objects map[string]struct {
			Labels struct {
				Final struct {
					Info struct {
						Params struct {
							Names map[string]int `json:"label_names"`
						}
					}
				}
			}
		}
	}
	data, err := os.ReadFile(filepath.Join(out, indexName))
	if err != nil || json.Unmarshal(data, &index) != nil || index.Objects["phantom_0002"].Labels.Final.Info.Params.Names["anterior"] != 1 {
		t.Errorf("index %s (%v)", data, err)
	}

	requests, _ := s.counts()
	if r, again, err := Fetch(t.Context(), set, Options{Out: out}); err != nil || !again || len(r.Cases) != 3 {
		t.Errorf("a second time: %v, %v", again, err)
	}
	if n, _ := s.counts(); n != requests {
		t.Error("what is there was downloaded again")
	}
	_, _, err = Fetch(t.Context(), set, Options{Out: out, Unlabelled: true})
	fails(t, err, fault.Conflict, "nothing was changed")

	from := file(t, "phantoms.tar", archive)
	var trees [2]map[string]string
	for i := range trees {
		out := filepath.Join(t.TempDir(), "again")
		if _, _, err := Fetch(t.Context(), set, Options{Out: out, From: from, Workers: i + 1}); err != nil {
			t.Fatal(err)
		}
		trees[i] = tree(t, out)
	}
	if !maps.Equal(trees[0], trees[1]) {
		t.Error("the same archive gave other files")
	}
	delete(files, RecordName) // it tells the address
	for name, sum := range files {
		if trees[0][name] != sum {
			t.Errorf("%s differs between a download and a file", name)
		}
	}
	if _, err := os.Stat(from); err != nil {
		t.Error("the user's archive is gone")
	}
}

func TestFetchWishes(t *testing.T) {
	archive := tarOf(t, phantoms(t, 2)...)
	set := phantomSet(archive)
	from := file(t, "phantoms.tar", archive)
	t.Run("images without labels", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "s")
		r, _, err := Fetch(t.Context(), set, Options{Out: out, From: from, Unlabelled: true})
		if err != nil || len(r.Cases) != 3 || r.Cases[2].Label != "" || r.Cases[2].Images[0] != "phantom_0003.nii.gz" {
			t.Errorf("%+v, %v", r, err)
		}
	})
	t.Run("one class, with another value", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "s")
		r, _, err := Fetch(t.Context(), set, Options{Out: out, From: from, Labels: map[string]int{"posterior": 300}})
		if err != nil || !maps.Equal(r.Labels, map[string]int{"posterior": 300}) {
			t.Fatalf("%+v, %v", r, err)
		}
		whole := filepath.Join(t.TempDir(), "s")
		if _, _, err := Fetch(t.Context(), set, Options{Out: whole, From: from}); err != nil {
			t.Fatal(err)
		}
		got, was := values(t, filepath.Join(out, filepath.FromSlash(r.Cases[0].Label))), values(t, filepath.Join(whole, filepath.FromSlash(r.Cases[0].Label)))
		for i, v := range was {
			if got[i] != map[int]int{2: 300}[v] {
				t.Fatalf("voxel %d was %d and became %d", i, v, got[i])
			}
		}
		if !slices.Contains(got, 300) {
			t.Error("nothing is left")
		}
		if _, problems, err := Verify(t.Context(), out, VerifyOptions{}); err != nil || len(problems) > 0 {
			t.Error(problems, err)
		}
	})
	t.Run("kept archive", func(t *testing.T) {
		s := serve(t, archive)
		set := set
		set.URL = s.URL
		out := filepath.Join(t.TempDir(), "s")
		for range 2 {
			if _, _, err := Fetch(t.Context(), set, Options{Out: out, Keep: true}); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(out); err != nil {
				t.Fatal(err)
			}
		}
		if n, _ := s.counts(); n != 1 {
			t.Errorf("%d downloads", n)
		}
		if data, _ := os.ReadFile(filepath.Join(WorkFolder(out), "phantoms.tar")); string(data) != string(archive) {
			t.Error("the archive was not kept")
		}
		// Another address does not get that archive.
		if _, _, err := Fetch(t.Context(), set, Options{Out: out, URL: s.URL + "/other"}); err != nil {
			t.Fatal(err)
		}
		if n, _ := s.counts(); n != 2 {
			t.Errorf("%d downloads, want 2", n)
		}
	})
	t.Run("unpacked folder", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "Task99")
		for _, e := range phantoms(t, 2) {
			if e.flag != 0 {
				continue
			}
			p := filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(e.name, "./Task99_Phantom/")))
			if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, e.data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		before := tree(t, dir)
		r, _, err := Fetch(t.Context(), set, Options{Out: filepath.Join(t.TempDir(), "s"), From: dir})
		if err != nil || len(r.Cases) != 2 || r.Archive != nil {
			t.Errorf("%+v, %v", r, err)
		}
		if !maps.Equal(before, tree(t, dir)) {
			t.Error("the user's folder was changed")
		}
	})
}

// A link to an empty folder stays a link; the folder behind it is filled.
func TestFetchBehindLink(t *testing.T) {
	archive := tarOf(t, phantoms(t, 1)...)
	base := t.TempDir()
	target, link := filepath.Join(base, "disk", "real"), filepath.Join(base, "link")
	if err := os.MkdirAll(target, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Fetch(t.Context(), phantomSet(archive), Options{Out: link, From: file(t, "p.tar", archive)}); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || to != target {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	if _, problems, err := Verify(t.Context(), target, VerifyOptions{}); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

func TestMountPoint(t *testing.T) {
	dir := t.TempDir()
	if err := mountPoint(dir); err != nil {
		t.Error(err)
	}
	if err := mountPoint(filepath.Join(dir, "absent")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat("/proc/self"); err != nil {
		t.Skip("there is no /proc here")
	}
	fails(t, mountPoint("/proc"), fault.Conflict, "top of a disk")
}

func TestFetchRefuses(t *testing.T) {
	archive := tarOf(t, phantoms(t, 1)...)
	s := serve(t, archive)
	good := phantomSet(archive)
	good.URL = s.URL
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	other := good
	other.MD5 = strings.Repeat("0", 32)
	byHand := good
	byHand.URL, byHand.Access = "", "sign up there"
	from := file(t, "phantoms.tar", archive)
	tests := []struct {
		name string
		set  Set
		o    Options
		kind fault.Kind
		word string
	}{
		{"no folder", good, Options{Out: "-"}, fault.Invalid, "no folder is given"},
		{"folder in the way", good, Options{Out: full}, fault.Conflict, "not empty"},
		{"wrong checksum, downloaded", other, Options{}, fault.Invalid, "it was removed"},
		{"wrong checksum, file", other, Options{From: from}, fault.Invalid, "has the MD5 " + good.MD5 + ", not 0000"},
		{"wrong SHA-256", good, Options{SHA256: strings.Repeat("ab", 32)}, fault.Invalid, "not abab"},
		{"no SHA-256", good, Options{SHA256: "ab"}, fault.Invalid, "64 hexadecimal digits"},
		{"by hand only", byHand, Options{}, fault.Unavailable, "sign up there"},
		{"no such file", good, Options{From: "absent.tar"}, fault.NotFound, "absent.tar"},
		{"no such class", good, Options{Labels: map[string]int{"liver": 0}}, fault.Invalid, `no label "liver"`},
		{"no room", good, Options{free: func(string) (int64, bool) { return 1000, true }}, fault.NoSpace, "1000 bytes are free"},
		{"no room to unpack", good, Options{From: from, free: func(string) (int64, bool) { return 1000, true }}, fault.NoSpace, "1000 bytes are free"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			switch tt.o.Out {
			case "":
				tt.o.Out = filepath.Join(t.TempDir(), "out")
			case "-":
				tt.o.Out = ""
			}
			_, _, err := Fetch(t.Context(), tt.set, tt.o)
			fails(t, err, tt.kind, tt.word)
			if tt.o.Out != "" && tt.o.Out != full {
				absent(t, tt.o.Out)
				if tt.kind != fault.NoSpace {
					absent(t, WorkFolder(tt.o.Out)) // nothing in it is of use
				}
			}
		})
	}
	if got := tree(t, full); len(got) != 1 {
		t.Errorf("the folder in the way was changed: %v", got)
	}
}

// Stopped while it downloads, unpacks or converts, a fetch leaves no studies
// folder, and the same call goes on without downloading again what came.
func TestFetchStopped(t *testing.T) {
	archive := tarOf(t, phantoms(t, 3)...)
	for _, phase := range []string{PhaseDownload, PhaseCheck, PhaseUnpack, PhaseConvert} {
		t.Run(phase, func(t *testing.T) {
			s := serve(t, archive)
			set := phantomSet(archive)
			set.URL = s.URL
			out := filepath.Join(t.TempDir(), "out")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, _, err := Fetch(ctx, set, Options{Out: out, Workers: 1, Progress: func(p string, _, _ int64) {
				if p == phase {
					cancel()
				}
			}})
			fails(t, err, fault.Canceled)
			absent(t, out)
			if _, _, err := Fetch(t.Context(), set, Options{Out: out}); err != nil {
				t.Fatal(err)
			}
			if phase == PhaseDownload && !strings.HasPrefix(s.ranges(), "|bytes=") || phase != PhaseDownload && s.ranges() != "" {
				t.Errorf("ranges %q", s.ranges())
			}
			if _, problems, err := Verify(t.Context(), out, VerifyOptions{}); err != nil || len(problems) > 0 {
				t.Error(problems, err)
			}
		})
	}
}

// Two fetches into one folder do not disturb each other.
func TestFetchTwice(t *testing.T) {
	archive := tarOf(t, phantoms(t, 1)...)
	set := phantomSet(archive)
	from := file(t, "phantoms.tar", archive)
	out := filepath.Join(t.TempDir(), "out")
	var inner error
	_, _, err := Fetch(t.Context(), set, Options{Out: out, From: from, Progress: func(string, int64, int64) {
		if inner == nil {
			_, _, inner = Fetch(t.Context(), set, Options{Out: out, From: from})
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	fails(t, inner, fault.Conflict, "another voxloop")
}
