package server

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/internal/imaging"
)

// TestUnreadableImageIsQuarantined puts half a file into the studies: it is
// named, never offered, and leaves the others alone.
func TestUnreadableImageIsQuarantined(t *testing.T) {
	half := caseFile(t, "045")
	studies := testStudies(t)
	if err := os.WriteFile(filepath.Join(studies, "aaa_broken.nii.gz"), half[:len(half)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, testApp(t, func(o *apps.Options) { o.Studies = studies }), Options{})
	a := s.must(http.StatusConflict, "POST", "/infer/segmentation?image=aaa_broken&output=json", nil, nil)
	contains(t, "the answer", a.body, "quarantined")
	if strings.Contains(string(a.body), studies) {
		t.Errorf("the answer names a folder: %s", a.body)
	}
	s.must(http.StatusConflict, "GET", "/datastore/image?image=aaa_broken", nil, nil)
	for range 5 {
		if id := s.must(200, "POST", "/activelearning/first", nil, nil).object(t).String("id"); id != "hippocampus_045" {
			t.Errorf("offered %q", id)
		}
	}
	contains(t, "the status page", s.must(200, "GET", "/", nil, nil).body, "1 that cannot be read")
	h, form := formBody(t, field{key: "label", name: "l.nii.gz", data: labelBytes(t, gridOf(t, "045"))})
	a = s.must(200, "PUT", "/datastore/label?image=aaa_broken", h, form)
	contains(t, "a label of an unreadable image", a.body, `"warnings":[`)
}

// TestReadOnlyStudies serve and refuse every write.
func TestReadOnlyStudies(t *testing.T) {
	studies, state := testStudies(t), t.TempDir()
	app := testApp(t, func(o *apps.Options) { o.Studies, o.State, o.ReadOnly = studies, state, true })
	s := serve(t, app, Options{})
	before := listing(t, studies)
	s.must(200, "GET", "/datastore/image?image=hippocampus_042", nil, nil)
	s.must(200, "POST", "/infer/segmentation?image=hippocampus_045&output=json", nil, nil)
	s.must(200, "POST", "/activelearning/first", nil, nil)
	lh, label := formBody(t, field{key: "label", name: "l.nii.gz", data: labelBytes(t, gridOf(t, "045"))})
	ih, image := formBody(t, field{key: "file", name: "x.nii.gz", data: caseFile(t, "045")})
	ph, params := formBody(t, field{key: "params", data: []byte(`{"save_label":true}`)})
	for _, a := range []answer{
		s.do("PUT", "/datastore/label?image=hippocampus_045", lh, label),
		s.do("PUT", "/datastore/image?image=new", ih, image),
		s.do("DELETE", "/datastore/image?id=hippocampus_042", nil, nil),
		s.do("DELETE", "/datastore/label?id=hippocampus_042&tag=final", nil, nil),
		s.do("POST", "/infer/segmentation?image=hippocampus_045", ph, params),
	} {
		if a.status != http.StatusServiceUnavailable || !strings.Contains(string(a.body), "read only") && !strings.Contains(string(a.body), "read-only") {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if after := listing(t, studies); after != before {
		t.Errorf("the studies changed:\n%s\n%s", before, after)
	}
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			i, ierr := d.Info()
			if ierr != nil {
				return ierr
			}
			fmt.Fprintln(&b, path, i.Size(), i.ModTime().Format(time.RFC3339Nano))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestSessionsOverHTTP goes beyond the recordings: an archive as channels,
// range requests, the feature switched off.
func TestSessionsOverHTTP(t *testing.T) {
	app := testApp(t, nil)
	s := serve(t, app, Options{})
	data := caseFile(t, "045")
	h, form := formBody(t, field{key: "files", name: "/home/me/scan.nii.gz", data: data}, field{key: "client_id", data: []byte("u")})
	ses := s.must(200, "PUT", "/session/", h, form).object(t)
	id := ses.String("session_id")
	if got := filepath.Base(ses.Sub("session_info").String("image")); got != "scan.nii.gz" {
		t.Errorf("image %s", got)
	}
	a := s.must(http.StatusPartialContent, "GET", "/session/"+id+"?image=true", map[string]string{"Range": "bytes=10-19"}, nil)
	if !bytes.Equal(a.body, data[10:20]) {
		t.Errorf("range %q", a.body)
	}
	// Slicer sends the volume's name along; the session wins.
	s.must(200, "POST", "/infer/segmentation?image=no_such_image&session_id="+id+"&output=json", nil, nil)
	// An expired session falls back to the image.
	s.must(200, "POST", "/infer/segmentation?image=hippocampus_045&session_id=5a8d7e6c-0000-11f1-a4cb-02fc00000001&output=json", nil, nil)
	two, form2 := formBody(t, field{key: "files", name: "b.nii.gz", data: data}, field{key: "files", name: "a.nii.gz", data: data})
	folder := s.must(200, "PUT", "/session/", two, form2).object(t).String("session_id")
	s.must(400, "GET", "/session/"+folder+"?image=true", nil, nil)
	same, form3 := formBody(t, field{key: "files", name: "a.nii.gz", data: data}, field{key: "files", name: "a.nii.gz", data: data})
	s.must(400, "PUT", "/session/", same, form3)
	off := serve(t, testApp(t, func(o *apps.Options) { o.Sessions.Enabled = false }), Options{})
	for _, method := range []string{"GET", "DELETE"} {
		if a := off.must(http.StatusNotAcceptable, method, "/session/"+id, nil, nil); string(a.body) != `{"detail":"Session Feature is Not Enabled"}` {
			t.Errorf("%s", a.body)
		}
	}
	off.must(http.StatusNotAcceptable, "PUT", "/session/", h, form)
}

func TestChecksumOfHead(t *testing.T) {
	s := serve(t, testApp(t, nil), Options{})
	const path = "/datastore/image?image=hippocampus_042&check_sum="
	for sum, want := range map[string]int{
		"": 200, "SHA256:9d65b599afa3ca78": 404, "MD5:0": 404, "CRC:0": 422,
		"SHA256:" + sumOf(caseFile(t, "042")): 200, strings.ToUpper(sumOf(caseFile(t, "042"))): 200,
	} {
		s.must(want, "HEAD", path+sum, nil, nil)
	}
}

func TestConditionalGet(t *testing.T) {
	s := serve(t, testApp(t, nil), Options{})
	const path = "/datastore/image?image=hippocampus_042"
	tag := s.must(200, "GET", path, nil, nil).header.Get("Etag")
	if a := s.must(http.StatusNotModified, "GET", path, map[string]string{"If-None-Match": tag}, nil); len(a.body) > 0 {
		t.Errorf("%d bytes", len(a.body))
	}
}

// TestRealModelRefusesTwoChannels: a 4-D image for a network of one channel.
func TestRealModelRefusesTwoChannels(t *testing.T) {
	s := serve(t, realApp(t), Options{})
	h, form := formBody(t, field{key: "file", name: "x.nii.gz", data: encodeVolume(t, imaging.NewVolume(gridOf(t, "045"), 2, imaging.Uint8))})
	a := s.must(400, "POST", "/infer/segmentation?output=json", h, form)
	contains(t, "the answer", a.body, "channel")
}

// TestQueueIsBounded: more inferences than allowed are refused, not piled up.
func TestQueueIsBounded(t *testing.T) {
	engine, started, release := newThresholds("segmentation"), make(chan struct{}), make(chan struct{})
	engine.block = blocked(started, release)
	s := serve(t, testApp(t, func(o *apps.Options) { o.Engine, o.Limits.QueueLength = engine, 1 }), Options{})
	done := make(chan answer)
	go func() { done <- s.do("POST", "/infer/segmentation?image=hippocampus_045&output=json", nil, nil) }()
	<-started
	if a := s.must(http.StatusTooManyRequests, "POST", "/infer/segmentation?image=hippocampus_045", nil, nil); a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	close(release)
	if a := <-done; a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}
