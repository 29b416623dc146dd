// Package datastoretest runs the contract of datastore.Store against an
// implementation.
package datastoretest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

// Opener opens a store that keeps its data in dir. A second call with the same
// dir, after Close, finds what the first one stored.
type Opener func(t *testing.T, dir string) datastore.Store

// Run runs the contract.
func Run(t *testing.T, open Opener) {
	tests := []struct {
		name string
		run  func(t *testing.T, open Opener)
	}{
		{"Empty", testEmpty},
		{"AddImage", testAddImage},
		{"ReplaceImage", testReplaceImage},
		{"RemoveImage", testRemoveImage},
		{"BadNames", testBadNames},
		{"Unknown", testUnknown},
		{"SaveLabel", testSaveLabel},
		{"LabelExtension", testLabelExtension},
		{"FailedWrite", testFailedWrite},
		{"RemoveLabel", testRemoveLabel},
		{"UpdateInfo", testUpdateInfo},
		{"KeyOrder", testKeyOrder},
		{"GridMismatch", testGridMismatch},
		{"Quarantine", testQuarantine},
		{"MarkServed", testMarkServed},
		{"Index", testIndex},
		{"Snapshots", testSnapshots},
		{"Events", testEvents},
		{"Concurrent", testConcurrent},
		{"Reopen", testReopen},
		{"Close", testClose},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, open) })
	}
}

// text returns a file writer for fixed content.
func text(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

func start(t *testing.T, open Opener) datastore.Store {
	t.Helper()
	s := open(t, t.TempDir())
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func add(t *testing.T, s datastore.Store, id string) datastore.Image {
	t.Helper()
	img, err := s.AddImage(t.Context(), id, ".nii.gz", nil, text("voxels of "+id))
	if err != nil {
		t.Fatalf("add %s: %v", id, err)
	}
	return img
}

func save(t *testing.T, s datastore.Store, id, tag, content string) datastore.Label {
	t.Helper()
	l, err := s.SaveLabel(t.Context(), id, tag, datastore.LabelFile{Ext: ".nii.gz", Write: text(content)})
	if err != nil {
		t.Fatalf("save %s/%s: %v", tag, id, err)
	}
	return l
}

func image(t *testing.T, s datastore.Store, id string) datastore.Image {
	t.Helper()
	img, err := s.Image(id)
	if err != nil {
		t.Fatalf("image %s: %v", id, err)
	}
	return img
}

func content(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path) //nolint:gosec // a file of the store under test
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func encode(t *testing.T, v any) string {
	t.Helper()
	raw, err := ordered.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func wantKind(t *testing.T, what string, err error, want fault.Kind) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error, want kind %v", what, want)
	} else if got := fault.KindOf(err); got != want {
		t.Errorf("%s: kind %v (%v), want %v", what, got, err, want)
	}
}

func testEmpty(t *testing.T, open Opener) {
	s := start(t, open)
	st := s.Stats()
	if st.Total != 0 || st.Completed != 0 || st.Quarantined != 0 || len(st.Tags) != 0 {
		t.Errorf("stats of an empty store: %+v", st)
	}
	if s.Name() != "new-dataset" || s.Description() != "New Dataset" {
		t.Errorf("name %q, description %q", s.Name(), s.Description())
	}
	for img := range s.All() {
		t.Errorf("an empty store has %s", img.ID)
	}
	var b bytes.Buffer
	if err := s.Index(&b); err != nil {
		t.Fatal(err)
	}
	want := `{"name":"new-dataset","description":"New Dataset","images_dir":".","labels_dir":"labels","objects":{}}`
	if b.String() != want {
		t.Errorf("index %s\nwant  %s", b.String(), want)
	}
}

func testAddImage(t *testing.T, open Opener) {
	s := start(t, open)
	info := ordered.Of("site", "x", "user", "admin")
	img, err := s.AddImage(t.Context(), "case 1.2 ü", ".nii.gz", info, text("voxels"))
	if err != nil {
		t.Fatal(err)
	}
	if img.ID != "case 1.2 ü" || img.Ext != ".nii.gz" || len(img.Files) != 1 || img.Quarantined != "" || len(img.Labels) != 0 {
		t.Errorf("got %+v", img)
	}
	if got := content(t, img.Files[0]); got != "voxels" {
		t.Errorf("file holds %q", got)
	}
	if !strings.HasSuffix(img.Files[0], "/case 1.2 ü.nii.gz") {
		t.Errorf("the file is called %s", img.Files[0])
	}
	if got := strings.Join(img.Info.Keys(), " "); got != "site user ts name" {
		t.Errorf("info keys %q", got)
	}
	if img.Info.String("name") != "case 1.2 ü.nii.gz" {
		t.Errorf("name %q", img.Info.String("name"))
	}
	if info.Len() != 2 {
		t.Error("the caller's info was changed")
	}
	if got := image(t, s, img.ID); encode(t, got.Info) != encode(t, img.Info) {
		t.Errorf("read back %s, stored %s", encode(t, got.Info), encode(t, img.Info))
	}
	if st := s.Stats(); st.Total != 1 {
		t.Errorf("total %d, want 1", st.Total)
	}
}

func testReplaceImage(t *testing.T, open Opener) {
	s := start(t, open)
	add(t, s, "a")
	old := image(t, s, "a").Files[0]
	add(t, s, "b")
	save(t, s, "a", "final", "mask")
	img, err := s.AddImage(t.Context(), "a", ".nrrd", ordered.Of("n", 2), text("new"))
	if err != nil {
		t.Fatal(err)
	}
	if img.Ext != ".nrrd" || content(t, img.Files[0]) != "new" {
		t.Errorf("got %+v", img)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Error("the file of the replaced image is still there")
	}
	if l, ok := img.Label("final"); !ok || content(t, l.Path) != "mask" {
		t.Error("the label of the replaced image is gone")
	}
	if got := order(s); got != "a b" {
		t.Errorf("order %q, want the replaced image in its place", got)
	}
	if st := s.Stats(); st.Total != 2 || st.Completed != 1 {
		t.Errorf("stats %+v", st)
	}
}

func order(s datastore.Store) string {
	var ids []string
	for img := range s.All() {
		ids = append(ids, img.ID)
	}
	return strings.Join(ids, " ")
}

func testRemoveImage(t *testing.T, open Opener) {
	s := start(t, open)
	img := add(t, s, "a")
	add(t, s, "b")
	l := save(t, s, "a", "final", "mask")
	if err := s.RemoveImage(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{img.Files[0], l.Path} {
		if _, err := os.Stat(p); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there", p)
		}
	}
	_, err := s.Image("a")
	wantKind(t, "a removed image", err, fault.NotFound)
	if st := s.Stats(); st.Total != 1 || st.Completed != 0 || len(st.Tags) != 0 {
		t.Errorf("stats %+v", st)
	}
	wantKind(t, "removing it again", s.RemoveImage(t.Context(), "a"), fault.NotFound)
	// The same id again is a new image without labels, at the end.
	if got := add(t, s, "a"); len(got.Labels) != 0 {
		t.Errorf("a new image came with the labels %+v", got.Labels)
	}
	if got := order(s); got != "b a" {
		t.Errorf("order %q", got)
	}
}

func testBadNames(t *testing.T, open Opener) {
	s := start(t, open)
	add(t, s, "a")
	ctx := t.Context()
	for _, id := range []string{"", "/", "../x", "a/b", `a\b`, "a\x00b", ".a", ".", "..", strings.Repeat("x", 201), "\xff"} {
		_, err := s.AddImage(ctx, id, ".nii", nil, text("x"))
		wantKind(t, fmt.Sprintf("add %q", id), err, fault.Invalid)
		_, err = s.Image(id)
		wantKind(t, fmt.Sprintf("image %q", id), err, fault.Invalid)
		_, err = s.SaveLabel(ctx, id, "final", datastore.LabelFile{Ext: ".nii", Write: text("x")})
		wantKind(t, fmt.Sprintf("save %q", id), err, fault.Invalid)
		wantKind(t, fmt.Sprintf("remove %q", id), s.RemoveImage(ctx, id), fault.Invalid)
		wantKind(t, fmt.Sprintf("update %q", id), s.UpdateImageInfo(ctx, id, ordered.Of("x", 1)), fault.Invalid)
		wantKind(t, fmt.Sprintf("served %q", id), s.MarkServed(id, "random", "", 1), fault.Invalid)
		wantKind(t, fmt.Sprintf("quarantine %q", id), s.Quarantine(ctx, id, "x"), fault.Invalid)
	}
	for _, tag := range []string{"", "../x", "a/b", `a\b`, "a b", ".a", "..", "ü", "a\x00", strings.Repeat("x", 201)} {
		_, err := s.SaveLabel(ctx, "a", tag, datastore.LabelFile{Ext: ".nii", Write: text("x")})
		wantKind(t, fmt.Sprintf("save tag %q", tag), err, fault.Invalid)
		wantKind(t, fmt.Sprintf("remove tag %q", tag), s.RemoveLabel(ctx, "a", tag), fault.Invalid)
		wantKind(t, fmt.Sprintf("update tag %q", tag), s.UpdateLabelInfo(ctx, "a", tag, ordered.Of("x", 1)), fault.Invalid)
	}
	for _, ext := range []string{"nii", "/../x", ".a/b", `.a\b`, ".", "..", ".a..b", ".a b", "." + strings.Repeat("x", 60)} {
		_, err := s.AddImage(ctx, "e", ext, nil, text("x"))
		wantKind(t, fmt.Sprintf("add ext %q", ext), err, fault.Invalid)
		_, err = s.SaveLabel(ctx, "a", "final", datastore.LabelFile{Ext: ext, Write: text("x")})
		wantKind(t, fmt.Sprintf("save ext %q", ext), err, fault.Invalid)
	}
	if st := s.Stats(); st.Total != 1 || len(st.Tags) != 0 {
		t.Errorf("refused names left something behind: %+v", st)
	}
}

func testUnknown(t *testing.T, open Opener) {
	s := start(t, open)
	add(t, s, "a")
	ctx := t.Context()
	_, err := s.Image("b")
	wantKind(t, "image", err, fault.NotFound)
	_, err = s.SaveLabel(ctx, "b", "final", datastore.LabelFile{Ext: ".nii", Write: text("x")})
	wantKind(t, "save", err, fault.NotFound)
	wantKind(t, "remove image", s.RemoveImage(ctx, "b"), fault.NotFound)
	wantKind(t, "remove label of an unknown image", s.RemoveLabel(ctx, "b", "final"), fault.NotFound)
	wantKind(t, "remove unknown label", s.RemoveLabel(ctx, "a", "final"), fault.NotFound)
	wantKind(t, "update image", s.UpdateImageInfo(ctx, "b", nil), fault.NotFound)
	wantKind(t, "update label", s.UpdateLabelInfo(ctx, "a", "final", nil), fault.NotFound)
	wantKind(t, "served", s.MarkServed("b", "random", "", 1), fault.NotFound)
	wantKind(t, "quarantine", s.Quarantine(ctx, "b", "why"), fault.NotFound)
}

func testConcurrent(t *testing.T, open Opener) {
	s := start(t, open)
	const images, rounds = 4, 6
	for i := range images {
		add(t, s, fmt.Sprint("case", i))
	}
	told := watch(t, s)
	var wg sync.WaitGroup
	for i := range images {
		id := fmt.Sprint("case", i)
		wg.Go(func() {
			for r := range rounds {
				_, err := s.SaveLabel(t.Context(), id, "final", datastore.LabelFile{
					Ext: ".nii.gz", Info: ordered.Of("round", r), Write: text(strings.Repeat(fmt.Sprint(r), 1000)),
				})
				if err != nil {
					t.Errorf("save: %v", err)
				}
			}
		})
		wg.Go(func() {
			for r := range rounds * 3 {
				if err := s.MarkServed(id, "random", "c", int64(r)); err != nil {
					t.Errorf("served: %v", err)
				}
				if err := s.UpdateImageInfo(t.Context(), id, ordered.Of(fmt.Sprint("key", r), r)); err != nil {
					t.Errorf("update: %v", err)
				}
			}
		})
		wg.Go(func() {
			for range rounds * 10 {
				if img, err := s.Image(id); err != nil || img.ID != id {
					t.Errorf("image: %v", err)
				}
				_ = s.Stats()
				_ = s.Index(io.Discard)
			}
		})
	}
	wg.Wait()
	told.end()
	for i := range images {
		img := image(t, s, fmt.Sprint("case", i))
		l, _ := img.Label("final")
		told.check(t, img, rounds, rounds*3)
		if want := strings.Repeat(fmt.Sprint(rounds-1), 1000); l.Version != rounds || content(t, l.Path) != want {
			t.Errorf("%s: version %d, want %d with its content", img.ID, l.Version, rounds)
		}
		if img.Info.Len() != 2+rounds*3+1 {
			t.Errorf("%s: %d info keys, want %d: an update was lost", img.ID, img.Info.Len(), 2+rounds*3+1)
		}
		if ts, _ := img.Info.Sub("strategy").Sub("random").Get("ts"); fmt.Sprint(ts) != fmt.Sprint(rounds*3-1) {
			t.Errorf("%s: last served %v, want %d", img.ID, ts, rounds*3-1)
		}
	}
	if st := s.Stats(); st.Completed != images {
		t.Errorf("completed %d, want %d", st.Completed, images)
	}
}

func testClose(t *testing.T, open Opener) {
	s := open(t, t.TempDir())
	add(t, s, "a")
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
	}
	ctx := t.Context()
	_, err := s.Image("a")
	wantKind(t, "image", err, fault.Unavailable)
	_, err = s.AddImage(ctx, "b", ".nii", nil, text("x"))
	wantKind(t, "add", err, fault.Unavailable)
	_, err = s.SaveLabel(ctx, "a", "final", datastore.LabelFile{Ext: ".nii", Write: text("x")})
	wantKind(t, "save", err, fault.Unavailable)
	wantKind(t, "remove image", s.RemoveImage(ctx, "a"), fault.Unavailable)
	wantKind(t, "remove label", s.RemoveLabel(ctx, "a", "final"), fault.Unavailable)
	wantKind(t, "update", s.UpdateImageInfo(ctx, "a", nil), fault.Unavailable)
	wantKind(t, "served", s.MarkServed("a", "random", "", 1), fault.Unavailable)
	wantKind(t, "quarantine", s.Quarantine(ctx, "a", "why"), fault.Unavailable)
}
