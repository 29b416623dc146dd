package datastoretest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

func testSaveLabel(t *testing.T, open Opener) {
	s := start(t, open)
	add(t, s, "a")
	add(t, s, "b")
	info := ordered.Of("label_info", []any{ordered.Of("name", "anterior", "idx", 1)}, "client_id", "c")
	l, err := s.SaveLabel(t.Context(), "a", "final", datastore.LabelFile{Ext: ".nii.gz", Info: info, Write: text("one")})
	if err != nil {
		t.Fatal(err)
	}
	if l.Tag != "final" || l.Ext != ".nii.gz" || l.Version != 1 || l.GridMismatch || content(t, l.Path) != "one" {
		t.Errorf("got %+v", l)
	}
	if !strings.HasSuffix(l.Path, "/labels/final/a.nii.gz") {
		t.Errorf("the file lies at %s", l.Path)
	}
	if got := strings.Join(l.Info.Keys(), " "); got != "label_info client_id ts name" {
		t.Errorf("info keys %q", got)
	}
	// A second save replaces the file and the whole info, and counts up.
	l, err = s.SaveLabel(t.Context(), "a", "final", datastore.LabelFile{Ext: ".nii.gz", Info: ordered.Of("k", 2), Write: text("two")})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(l.Info.Keys(), " "); got != "k ts name" || l.Version != 2 || content(t, l.Path) != "two" {
		t.Errorf("keys %q, version %d", got, l.Version)
	}
	save(t, s, "a", "version_10", "x")
	save(t, s, "a", "version_2", "y")
	save(t, s, "b", "final", "z")
	var tags []string
	for _, l := range image(t, s, "a").Labels {
		tags = append(tags, l.Tag)
	}
	if got := strings.Join(tags, " "); got != "final version_10 version_2" {
		t.Errorf("labels %q, want the order of their first save", got)
	}
	st := s.Stats()
	want := []datastore.TagCount{{Tag: "final", Count: 2}, {Tag: "version_10", Count: 1}, {Tag: "version_2", Count: 1}}
	if st.Completed != 2 || !slices.Equal(st.Tags, want) {
		t.Errorf("stats %+v, want tags %v", st, want)
	}
}

func testLabelExtension(t *testing.T, open Opener) {
	s := start(t, open)
	add(t, s, "a")
	first := save(t, s, "a", "final", "one")
	l, err := s.SaveLabel(t.Context(), "a", "final", datastore.LabelFile{Ext: ".nrrd", Write: text("two")})
	if err != nil {
		t.Fatal(err)
	}
	if l.Version != 2 || l.Ext != ".nrrd" || content(t, l.Path) != "two" {
		t.Errorf("got %+v", l)
	}
	if _, err := os.Stat(first.Path); !errors.Is(err, os.ErrNotExist) {
		t.Error("the file with the earlier extension is still there: it would come back once the new one is deleted")
	}
	if err := s.RemoveLabel(t.Context(), "a", "final"); err != nil {
		t.Fatal(err)
	}
	if got := image(t, s, "a").Labels; len(got) != 0 {
		t.Errorf("after the removal: %+v", got)
	}
}

func testFailedWrite(t *testing.T, open Opener) {
	s := start(t, open)
	add(t, s, "a")
	l := save(t, s, "a", "final", "good")
	before := files(t, filepath.Dir(l.Path))
	own := fault.New(fault.Invalid, "the label is unreadable")
	tests := []struct {
		name  string
		write func(io.Writer) error
		kind  fault.Kind
	}{
		{"its own fault", func(w io.Writer) error { _, _ = io.WriteString(w, "half"); return own }, fault.Invalid},
		{"disk full", func(io.Writer) error {
			return &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
		}, fault.NoSpace},
		{"unclassified", func(io.Writer) error { return errors.New("broken pipe") }, fault.Internal},
	}
	for _, tt := range tests {
		_, err := s.SaveLabel(t.Context(), "a", "final", datastore.LabelFile{Ext: ".nii.gz", Write: tt.write})
		wantKind(t, tt.name, err, tt.kind)
		_, err = s.AddImage(t.Context(), "a", ".nii.gz", nil, tt.write)
		wantKind(t, tt.name+", image", err, tt.kind)
		_, err = s.AddImage(t.Context(), "new", ".nii.gz", nil, tt.write)
		wantKind(t, tt.name+", new image", err, tt.kind)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.SaveLabel(ctx, "a", "final", datastore.LabelFile{Ext: ".nii.gz", Write: func(w io.Writer) error {
		_, _ = io.WriteString(w, "half")
		cancel()
		return nil
	}})
	wantKind(t, "caller gone", err, fault.Canceled)
	img := image(t, s, "a")
	got, _ := img.Label("final")
	if got.Version != 1 || content(t, got.Path) != "good" || content(t, img.Files[0]) != "voxels of a" {
		t.Errorf("a failed write changed something: %+v", img)
	}
	if after := files(t, filepath.Dir(l.Path)); after != before {
		t.Errorf("files %q, before %q", after, before)
	}
	if st := s.Stats(); st.Total != 1 {
		t.Errorf("stats %+v", st)
	}
}

func files(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func testRemoveLabel(t *testing.T, open Opener) {
	s := start(t, open)
	add(t, s, "a")
	save(t, s, "a", "original", "o")
	l := save(t, s, "a", "final", "f")
	if err := s.RemoveLabel(t.Context(), "a", "final"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(l.Path); !errors.Is(err, os.ErrNotExist) {
		t.Error("the file is still there")
	}
	if img := image(t, s, "a"); len(img.Labels) != 1 || img.Labels[0].Tag != "original" {
		t.Errorf("labels %+v", img.Labels)
	}
	if st := s.Stats(); st.Completed != 0 || len(st.Tags) != 1 {
		t.Errorf("stats %+v", st)
	}
	if l := save(t, s, "a", "final", "again"); l.Version != 2 {
		t.Errorf("version %d after a removal, want 2: numbers are never used again", l.Version)
	}
}

func testUpdateInfo(t *testing.T, open Opener) {
	s := start(t, open)
	add(t, s, "a")
	save(t, s, "a", "final", "x")
	ctx := t.Context()
	patch := ordered.Of("reader", "A", "score", 3, "name", "kept in its place")
	if err := s.UpdateImageInfo(ctx, "a", patch); err != nil {
		t.Fatal(err)
	}
	if err := s.UpdateLabelInfo(ctx, "a", "final", ordered.Of("segmentationMeta", ordered.Of("status", "flagged"))); err != nil {
		t.Fatal(err)
	}
	img := image(t, s, "a")
	if got := strings.Join(img.Info.Keys(), " "); got != "ts name reader score" || img.Info.String("name") != "kept in its place" {
		t.Errorf("image info %s", encode(t, img.Info))
	}
	l, _ := img.Label("final")
	if got := strings.Join(l.Info.Keys(), " "); got != "ts name segmentationMeta" || l.Info.Sub("segmentationMeta").String("status") != "flagged" {
		t.Errorf("label info %s", encode(t, l.Info))
	}
	wantKind(t, "NaN", s.UpdateImageInfo(ctx, "a", ordered.Of("x", func() {})), fault.Invalid)
}

func testKeyOrder(t *testing.T, open Opener) {
	s := start(t, open)
	add(t, s, "a")
	const raw = `{"z":1,"a":{"y":[1.50,{"q":null,"b":"<ü>&"}],"x":1e400},"10":0,"9":123456789012345678901234567890}`
	info, err := ordered.Parse([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.SaveLabel(t.Context(), "a", "final", datastore.LabelFile{Ext: ".nii", Info: info, Write: text("x")})
	if err != nil {
		t.Fatal(err)
	}
	l.Info.Delete("ts")
	l.Info.Delete("name")
	if got := encode(t, l.Info); got != raw {
		t.Errorf("got  %s\nwant %s", got, raw)
	}
}

func testGridMismatch(t *testing.T, open Opener) {
	s := start(t, open)
	add(t, s, "a")
	l, err := s.SaveLabel(t.Context(), "a", "final", datastore.LabelFile{Ext: ".nii", GridMismatch: true, Write: text("x")})
	if err != nil || !l.GridMismatch {
		t.Errorf("got %+v, %v; want the flag", l, err)
	}
	img := image(t, s, "a")
	if got, _ := img.Label("final"); !got.GridMismatch {
		t.Error("the flag was not kept")
	}
	if l := save(t, s, "a", "final", "y"); l.GridMismatch {
		t.Error("the flag outlived a new label on the right grid")
	}
}

func testQuarantine(t *testing.T, open Opener) {
	s := start(t, open)
	add(t, s, "a")
	if err := s.Quarantine(t.Context(), "a", "the header lies"); err != nil {
		t.Fatal(err)
	}
	if img := image(t, s, "a"); img.Quarantined != "the header lies" {
		t.Errorf("got %+v", img)
	}
	if st := s.Stats(); st.Quarantined != 1 || st.Total != 1 {
		t.Errorf("stats %+v", st)
	}
	if err := s.UpdateImageInfo(t.Context(), "a", ordered.Of("k", 1)); err != nil {
		t.Fatal(err)
	}
	if img := image(t, s, "a"); img.Quarantined == "" {
		t.Error("an update of the info ended the quarantine")
	}
	add(t, s, "a")
	if img := image(t, s, "a"); img.Quarantined != "" || s.Stats().Quarantined != 0 {
		t.Error("a new file did not end the quarantine")
	}
}

func testMarkServed(t *testing.T, open Opener) {
	s := start(t, open)
	add(t, s, "a")
	for i, name := range []string{"random", "first", "random"} {
		if err := s.MarkServed("a", name, fmt.Sprint("client", i), int64(100+i)); err != nil {
			t.Fatal(err)
		}
	}
	want := `{"random":{"ts":102,"client_id":"client2"},"first":{"ts":101,"client_id":"client1"}}`
	if got := encode(t, image(t, s, "a").Info.Sub("strategy")); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func testIndex(t *testing.T, open Opener) {
	s := start(t, open)
	add(t, s, "b")
	add(t, s, "a")
	save(t, s, "b", "final", "x")
	var b bytes.Buffer
	if err := s.Index(&b); err != nil {
		t.Fatal(err)
	}
	var c bytes.Buffer
	if err := json.Compact(&c, b.Bytes()); err != nil || c.String() != b.String() {
		t.Errorf("the index is no compact JSON (%v): %s", err, b.String())
	}
	m, err := ordered.Parse(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(m.Keys(), " "); got != "name description images_dir labels_dir objects" {
		t.Errorf("keys %q", got)
	}
	objects := m.Sub("objects")
	if got := strings.Join(objects.Keys(), " "); got != "b a" {
		t.Errorf("objects %q, want index order", got)
	}
	obj := objects.Sub("b")
	if got := strings.Join(obj.Keys(), " ") + " " + strings.Join(obj.Sub("image").Keys(), " "); got != "image labels ext info" {
		t.Errorf("object keys %q", got)
	}
	if l := obj.Sub("labels").Sub("final"); l.String("ext") != ".nii.gz" || l.Sub("info").String("name") != "b.nii.gz" {
		t.Errorf("label %s", encode(t, l))
	}
	failing := writerFunc(func([]byte) (int, error) { return 0, errors.New("client gone") })
	if err := s.Index(failing); err == nil {
		t.Error("a failing writer went unnoticed")
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func testSnapshots(t *testing.T, open Opener) {
	s := start(t, open)
	add(t, s, "a")
	save(t, s, "a", "final", "x")
	img := image(t, s, "a")
	img.Info.Set("name", "changed by the caller")
	img.Labels[0].Info.Set("name", "changed by the caller")
	img.Files[0] = "nowhere"
	again := image(t, s, "a")
	if again.Info.String("name") != "a.nii.gz" || again.Labels[0].Info.String("name") != "a.nii.gz" || again.Files[0] == "nowhere" {
		t.Errorf("a caller changed the store: %+v", again)
	}
	save(t, s, "a", "draft", "y")
	if len(img.Labels) != 1 {
		t.Error("a snapshot changed with the store")
	}
}

func testReopen(t *testing.T, open Opener) {
	dir := t.TempDir()
	s := open(t, dir)
	add(t, s, "b")
	add(t, s, "a")
	save(t, s, "b", "version_2", "v")
	save(t, s, "b", "final", "one")
	save(t, s, "b", "final", "two")
	if err := s.UpdateImageInfo(t.Context(), "a", ordered.Of("z", 1, "k", 2)); err != nil {
		t.Fatal(err)
	}
	if err := s.MarkServed("a", "random", "c", 77); err != nil {
		t.Fatal(err)
	}
	if err := s.Quarantine(t.Context(), "a", "why"); err != nil {
		t.Fatal(err)
	}
	var before, after bytes.Buffer
	if err := errors.Join(s.Index(&before), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer func() { _ = s.Close() }()
	if err := s.Index(&after); err != nil {
		t.Fatal(err)
	}
	if before.String() != after.String() {
		t.Errorf("before %s\nafter  %s", before.String(), after.String())
	}
	img := image(t, s, "b")
	l, _ := img.Label("final")
	if l.Version != 2 || content(t, l.Path) != "two" {
		t.Errorf("got %+v", l)
	}
	if img = image(t, s, "a"); img.Quarantined != "why" {
		t.Error("the quarantine was forgotten")
	}
	if st := s.Stats(); st.Total != 2 || st.Completed != 1 || st.Quarantined != 1 || len(st.Tags) != 2 {
		t.Errorf("stats %+v", st)
	}
}
