package server

import (
	"archive/zip"
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/testkit"
)

// recording is one exchange of the reference server.
type recording struct {
	number       string // "001"
	method, path string
	reqHeader    map[string]string
	reqBody      string // its summary
	status       int
	header       map[string]string // lower-case names
	body         string
}

var (
	recordedHeader = regexp.MustCompile(`'([^']+)': '([^']*)'`)
	recordedFile   = regexp.MustCompile(`^file (\S+), (\S+), (\d+) bytes$`)
	recordedBytes  = regexp.MustCompile(`^(.*?); \d+ bytes: b'(.*)'$`)
)

// recordings reads 001 to 109, in the order of the calls.
func recordings(t *testing.T) []recording {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(testkit.Shared(t, "golden", "protocol"), "[01][0-9][0-9]-*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	var out []recording
	for _, f := range files {
		if n := filepath.Base(f)[:3]; n <= "109" {
			out = append(out, parseRecording(t, n, f))
		}
	}
	if len(out) != 109 {
		t.Fatalf("%d recordings, want 109", len(out))
	}
	return out
}

func parseRecording(t *testing.T, number, file string) recording {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, body, found := strings.Cut(string(b), "\nBODY:\n")
	r := recording{number: number, body: strings.TrimSuffix(body, "\n"), header: map[string]string{}, reqHeader: map[string]string{}}
	for line := range strings.Lines(head) {
		line = strings.TrimSuffix(line, "\n")
		key, value, _ := strings.Cut(line, ": ")
		switch {
		case key == "REQUEST":
			r.method, r.path, _ = strings.Cut(value, " ")
		case key == "REQUEST HEADERS":
			for _, m := range recordedHeader.FindAllStringSubmatch(value, -1) {
				r.reqHeader[m[1]] = m[2]
			}
		case key == "REQUEST BODY":
			r.reqBody = value
		case key == "STATUS":
			r.status, err = strconv.Atoi(value[:3])
		case strings.HasPrefix(line, "  "):
			r.header[strings.TrimSpace(key)] = value
		}
	}
	if !found || err != nil || r.method == "" || r.status == 0 {
		t.Fatalf("%s cannot be parsed", file)
	}
	return r
}

// request makes the headers and the body that the summary describes.
func (r recording) request(t *testing.T) (map[string]string, []byte) {
	t.Helper()
	header := map[string]string{}
	maps.Copy(header, r.reqHeader)
	if r.reqBody == "none" {
		return header, nil
	}
	if m := recordedBytes.FindStringSubmatch(r.reqBody); m != nil {
		header["Content-Type"] = m[1]
		return header, []byte(m[2])
	}
	if text, found := strings.CutPrefix(r.reqBody, "application/json; "); found {
		header["Content-Type"] = "application/json"
		return header, []byte(text)
	}
	parts, found := strings.CutPrefix(r.reqBody, "multipart/form-data; part ")
	if !found {
		t.Fatalf("%s: the body %q is not understood", r.number, r.reqBody)
	}
	var fields []field
	for part := range strings.SplitSeq(parts, "; part ") {
		key, value, _ := strings.Cut(part, ": ")
		f := field{key: key, data: []byte(value)}
		if m := recordedFile.FindStringSubmatch(value); m != nil {
			f.name, f.mime, f.data = m[1], m[2], recordedContent(t, m[1], m[3])
		}
		fields = append(fields, f)
	}
	h, b := formBody(t, fields...)
	maps.Copy(header, h)
	return header, b
}

// recordedContent makes the content of an uploaded file: the image of case
// 045 (its size tells), an archive with it, a synthetic label, or no image.
func recordedContent(t *testing.T, name, size string) []byte {
	t.Helper()
	image := caseFile(t, "045")
	switch {
	case size == strconv.Itoa(len(image)):
		return image
	case name == "u.zip":
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		w, err := z.CreateHeader(&zip.FileHeader{Name: "upload.nii.gz", Method: zip.Store})
		if err == nil {
			_, err = w.Write(image)
		}
		if err == nil {
			err = z.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	case name == "l.nii.gz":
		return labelBytes(t, gridOf(t, "045"))
	case name == "w.pt":
		return changedNetwork(t, 0.01)
	case name == "x.nii.gz":
		return []byte(fmt.Sprintf("%-16s", "not an image"))
	}
	t.Fatalf("the content of %s with %s bytes is unknown", name, size)
	return nil
}
