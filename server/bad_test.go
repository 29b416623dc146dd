package server

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
)

func detailOf(a answer) string { return string(a.body) }

// TestUnknownThings are 404 with a reason, whatever the reference does.
func TestUnknownThings(t *testing.T) {
	s := serve(t, testApp(t, nil), Options{})
	h, form := formBody(t, field{key: "params", data: []byte("{}")})
	lh, label := formBody(t, field{key: "label", name: "l.nii.gz", data: labelBytes(t, gridOf(t, "045"))})
	for _, tt := range []struct {
		method, path string
		header       map[string]string
		body         []byte
	}{
		{"POST", "/infer/none?image=hippocampus_045", h, form},
		{"POST", "/infer/segmentation?image=none", h, form},
		{"POST", "/infer/segmentation?session_id=5a8d7e6c-0000-11f1-a4cb-02fc00000001", h, form},
		{"POST", "/infer/a/b", h, form},
		{"GET", "/datastore/image?image=none", nil, nil},
		{"HEAD", "/datastore/image?image=none", nil, nil},
		{"GET", "/datastore/label?label=hippocampus_045&tag=none", nil, nil},
		{"GET", "/datastore/label?label=none&tag=final", nil, nil},
		{"HEAD", "/datastore/label?image=hippocampus_045&tag=final", nil, nil},
		{"PUT", "/datastore/label?image=none", lh, label},
		{"PUT", "/datastore/image/info?image=none", h, form},
		{"PUT", "/datastore/label/info?label=none&tag=final", h, form},
		{"PUT", "/datastore/label/info?label=hippocampus_045&tag=none", h, form},
		{"DELETE", "/datastore/image?id=none", nil, nil},
		{"GET", "/session/..%2f..", nil, nil},
		{"GET", "/model/none", nil, nil},
		{"POST", "/activelearning/none", nil, nil},
		{"POST", "/infer/seg%2fmentation?image=hippocampus_045", h, form},
	} {
		a := s.must(http.StatusNotFound, tt.method, tt.path, tt.header, tt.body)
		if tt.method != "HEAD" && !strings.HasPrefix(detailOf(a), `{"detail":"`) {
			t.Errorf("%s %s: %.100s", tt.method, tt.path, a.body)
		}
	}
}

// TestImpossibleIds are refused and never cleaned up into another id.
func TestImpossibleIds(t *testing.T) {
	app := testApp(t, nil)
	s := serve(t, app, Options{})
	ih, image := formBody(t, field{key: "file", name: "x.nii.gz", data: caseFile(t, "045")})
	lh, label := formBody(t, field{key: "label", name: "l.nii.gz", data: labelBytes(t, gridOf(t, "045"))})
	for _, id := range []string{"../../x", "a/b", `a\b`, "a\x00b", ".hidden", "..", strings.Repeat("x", 201), "/etc/passwd"} {
		q := url.QueryEscape(id)
		s.must(400, "PUT", "/datastore/image?image="+q, ih, image)
		s.must(400, "PUT", "/datastore/label?image="+q, lh, label)
		s.must(400, "DELETE", "/datastore/image?id="+q, nil, nil)
		s.must(400, "DELETE", "/datastore/label?tag=final&id="+q, nil, nil)
		s.must(404, "GET", "/datastore/image?image="+q, nil, nil)
		s.must(404, "HEAD", "/datastore/image?image="+q, nil, nil)
		s.must(404, "GET", "/datastore/label?tag=final&label="+q, nil, nil)
		a := s.do("POST", "/infer/segmentation?image="+q, nil, nil)
		if a.status != 400 && a.status != 404 {
			t.Errorf("infer on %q: %d", id, a.status)
		}
	}
	for _, tag := range []string{"../evil", "a/b", ".x", "ä", "a b"} {
		q := url.QueryEscape(tag)
		s.must(400, "PUT", "/datastore/label?image=hippocampus_045&tag="+q, lh, label)
		s.must(400, "DELETE", "/datastore/label?id=hippocampus_045&tag="+q, nil, nil)
		s.must(404, "GET", "/datastore/label?label=hippocampus_045&tag="+q, nil, nil)
		h, form := formBody(t, field{key: "params", data: fmt.Appendf(nil, `{"save_label":true,"label_tag":%q}`, tag)})
		s.must(400, "POST", "/infer/segmentation?image=hippocampus_045", h, form)
	}
	above, err := os.ReadDir(filepath.Dir(app.StudiesDir()))
	if err != nil || len(above) != 1 {
		t.Errorf("beside the studies there is now %v (%v)", above, err)
	}
}

// niftiHeader is a NIfTI file of size³ uint8 voxels without its voxels.
func niftiHeader(size [3]int16, first float32) []byte {
	b := make([]byte, 352)
	le := binary.LittleEndian
	le.PutUint32(b[0:], 348)
	for i, v := range []int16{3, size[0], size[1], size[2], 1, 1, 1, 1} {
		le.PutUint16(b[40+2*i:], uint16(v))
	}
	le.PutUint16(b[70:], 2) // uint8
	le.PutUint16(b[72:], 8)
	for i := range 8 {
		le.PutUint32(b[76+4*i:], math.Float32bits(1))
	}
	le.PutUint32(b[108:], math.Float32bits(352))
	le.PutUint16(b[254:], 1) // sform
	for i := range 3 {
		le.PutUint32(b[280+20*i:], math.Float32bits(1))
	}
	le.PutUint32(b[280:], math.Float32bits(first))
	copy(b[344:], "n+1\x00")
	return b
}

// TestBadFiles uploads files that cannot be used, as images and for an
// inference: never a panic, never 500, nothing is left.
func TestBadFiles(t *testing.T) {
	app := testApp(t, nil)
	s := serve(t, app, Options{})
	good := caseFile(t, "045")
	nan := append(niftiHeader([3]int16{2, 2, 2}, float32(math.NaN())), make([]byte, 8)...)
	huge := []byte("NRRD0004\ntype: uint8\ndimension: 3\nsizes: 1000000 1000000 1\nencoding: raw\n\nx")
	for _, tt := range []struct {
		name, file string
		data       []byte
	}{
		{"truncated gzip", "a.nii.gz", good[:len(good)/2]},
		{"corrupt gzip", "b.nii.gz", append(bytes.Clone(good[:len(good)-20]), make([]byte, 20)...)},
		{"huge header", "c.nrrd", huge},
		{"huge NIfTI header", "d.nii", niftiHeader([3]int16{32767, 32767, 32767}, 1)},
		{"NaN affine", "e.nii", nan},
		{"text", "f.nii.gz", []byte("hello")},
		{"empty", "g.nii.gz", nil},
		{"JPEG", "h.jpg", []byte("\xff\xd8\xff\xe0")},
		{"detached header", "i.nhdr", []byte("NRRD0004\ntype: uint8\ndimension: 3\nsizes: 1 1 1\nencoding: raw\ndata file: /etc/passwd\n\n")},
		{"detached data", "j.nrrd", []byte("NRRD0004\ntype: uint8\ndimension: 3\nsizes: 1 1 1\nencoding: raw\ndata file: ../../../../etc/passwd\n\n")},
		{"no name", "", good},
	} {
		h, form := formBody(t, field{key: "file", name: tt.file, data: tt.data})
		for _, path := range []string{"PUT /datastore/image?image=bad", "POST /infer/segmentation?output=json"} {
			method, target, _ := strings.Cut(path, " ")
			a := s.do(method, target, h, form)
			wrong := a.status != 400 && a.status != 413
			if tt.name == "no name" { // a text field, so the file is missing
				wrong = a.status != 422
			}
			if wrong {
				t.Errorf("%s, %s: %d %s", tt.name, path, a.status, a.body)
			}
			if strings.Contains(string(a.body), app.StateDir()) || strings.Contains(string(a.body), "upload") && strings.Contains(string(a.body), ".nii") {
				t.Errorf("%s names a path of ours: %s", tt.name, a.body)
			}
		}
	}
	s.must(404, "HEAD", "/datastore/image?image=bad", nil, nil)
	if left := tempFiles(t, app); len(left) > 0 {
		t.Errorf("temp files are left: %v", left)
	}
}

// TestBrokenForms are 400 with a reason, too large ones 413.
func TestBrokenForms(t *testing.T) {
	app := testApp(t, func(o *apps.Options) { o.Limits.MaxUpload = 200000 })
	s := serve(t, app, Options{})
	const path = "/infer/segmentation?image=hippocampus_045&output=json"
	form := map[string]string{"Content-Type": "multipart/form-data; boundary=b"}
	part := "--b\r\nContent-Disposition: form-data; name=\"params\"\r\n\r\n"
	for _, tt := range []struct {
		name   string
		header map[string]string
		body   string
		status int
	}{
		{"no boundary", map[string]string{"Content-Type": "multipart/form-data"}, "xyz", 400},
		{"garbage", form, "garbage without a boundary", 400},
		{"ends in a part", form, part + "{}", 400},
		{"ends in a header", form, "--b\r\nContent-Dispo", 400},
		{"no disposition", form, "--b\r\nX: y\r\n\r\n{}\r\n--b--\r\n", 400},
		{"empty form", form, "--b--\r\n", 200},
		{"bad JSON", form, part + "{not json\r\n--b--\r\n", 400},
		{"an array", form, part + "[1]\r\n--b--\r\n", 422},
		{"empty params", form, part + "\r\n--b--\r\n", 200},
		{"deep JSON", form, part + strings.Repeat(`{"a":`, 5000) + "\r\n--b--\r\n", 400},
		{"params as a file", form, "--b\r\nContent-Disposition: form-data; name=\"params\"; filename=\"p\"\r\n\r\n{}\r\n--b--\r\n", 422},
		{"file as a text", form, "--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n{}\r\n--b--\r\n", 422},
		{"many parts", form, strings.Repeat(part+"{}\r\n", 300) + "--b--\r\n", 413},
		{"too large", form, part + strings.Repeat(" ", 250000) + "\r\n--b--\r\n", 413},
		{"bad escape", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, "params=%zz", 400},
		{"text", map[string]string{"Content-Type": "text/plain"}, "params={}", 200},
		{"wrong type", form, part + `{"result_extension": 5}` + "\r\n--b--\r\n", 422},
		{"unknown type", form, part + `{"result_dtype": "complex64"}` + "\r\n--b--\r\n", 422},
		{"unknown extension", form, part + `{"result_extension": ".dcm"}` + "\r\n--b--\r\n", 422},
		{"overlap", form, part + `{"sw_overlap": 1.5}` + "\r\n--b--\r\n", 422},
	} {
		a := s.do("POST", path, tt.header, []byte(tt.body))
		if a.status != tt.status {
			t.Errorf("%s: %d %.200s, want %d", tt.name, a.status, a.body, tt.status)
		}
	}
	// A body without a length that grows over the limit.
	a := s.raw("PUT", "PUT /datastore/image?image=x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n"+
		chunk("--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x.nii\"\r\n\r\n")+strings.Repeat(chunk(strings.Repeat("x", 50000)), 5)+"0\r\n\r\n")
	if a.status != 413 {
		t.Errorf("chunked: %d %s", a.status, a.body)
	}
	if left := tempFiles(t, app); len(left) > 0 {
		t.Errorf("temp files are left: %v", left)
	}
}

func chunk(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }

// TestValidationBodies are in the reference's form.
func TestValidationBodies(t *testing.T) {
	s := serve(t, testApp(t, nil), Options{})
	js := map[string]string{"Content-Type": "application/json"}
	for _, tt := range []struct{ method, path, body, want string }{
		{"POST", "/infer/segmentation?output=", "", `{"detail":[{"type":"enum","loc":["query","output"],"msg":"Input should be 'image', 'json', 'all' or 'dicom_seg'","input":"","ctx":{"expected":"'image', 'json', 'all' or 'dicom_seg'"}}]}`},
		{"POST", "/train/m?run_sync=maybe", "", `{"detail":[{"type":"bool_parsing","loc":["query","run_sync"],"msg":"Input should be a valid boolean, unable to interpret input","input":"maybe"}]}`},
		{"GET", "/datastore/dataset?limit_cases=x", "", `{"detail":[{"type":"int_parsing","loc":["query","limit_cases"],"msg":"Input should be a valid integer, unable to parse string as an integer","input":"x"}]}`},
		{"POST", "/activelearning/first", "[1]", `{"detail":[{"type":"dict_type","loc":["body"],"msg":"Input should be a valid dictionary","input":[1]}]}`},
		{"POST", "/train/m", `{"a" 1}`, `{"detail":[{"type":"json_invalid","loc":["body",5],"msg":"JSON decode error","input":{},"ctx":{"error":"Expecting ':' delimiter"}}]}`},
		{"POST", "/train/m", `{"ä":1`, `{"detail":[{"type":"json_invalid","loc":["body",6],"msg":"JSON decode error","input":{},"ctx":{"error":"Expecting value"}}]}`},
		{"DELETE", "/datastore/label", "", `{"detail":[{"type":"missing","loc":["query","id"],"msg":"Field required","input":null},{"type":"missing","loc":["query","tag"],"msg":"Field required","input":null}]}`},
		{"PUT", "/datastore/label", "", `{"detail":[{"type":"missing","loc":["query","image"],"msg":"Field required","input":null}]}`},
		{"POST", "/batch/infer/m?images=some", "", `{"detail":[{"type":"enum","loc":["query","images"],"msg":"Input should be 'all', 'labeled' or 'unlabeled'","input":"some","ctx":{"expected":"'all', 'labeled' or 'unlabeled'"}}]}`},
	} {
		var body []byte
		if tt.body != "" {
			body = []byte(tt.body)
		}
		if a := s.must(422, tt.method, tt.path, js, body); string(a.body) != tt.want {
			t.Errorf("%s %s:\n got %s\nwant %s", tt.method, tt.path, a.body, tt.want)
		}
	}
	// Announced as something else, JSON is not parsed; unannounced it is.
	s.must(422, "POST", "/activelearning/first", map[string]string{"Content-Type": "text/plain"}, []byte("{}"))
	const asked = `{"client_id":"qupath"}`
	a := s.raw("POST", fmt.Sprintf("POST /activelearning/first HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(asked), asked))
	if a.status != 200 {
		t.Errorf("JSON without a type: %d %s", a.status, a.body)
	}
	info := s.must(200, "GET", "/datastore/image/info?image=hippocampus_045", nil, nil).object(t)
	if got := info.Sub("strategy").Sub("first").String("client_id"); got != "qupath" {
		t.Errorf("the unannounced JSON was not read: %s", marshal(t, info))
	}
}

// TestLabels covers how a label's grid and values decide what is kept.
func TestLabels(t *testing.T) {
	s := serve(t, testApp(t, nil), Options{})
	grid := gridOf(t, "045")
	put := func(tag, name string, data []byte) answer {
		h, form := formBody(t, field{key: "label", name: name, data: data})
		return s.do("PUT", "/datastore/label?image=hippocampus_045&tag="+tag, h, form)
	}
	get := func(tag, name string) *imaging.Volume {
		return decode(t, name, s.must(200, "GET", "/datastore/label?label=hippocampus_045&tag="+tag, nil, nil).body)
	}
	same := labelBytes(t, grid)
	want := decode(t, "l.nii.gz", same)

	if a := put("same", "x.nii.gz", same); a.status != 200 {
		t.Fatalf("%s", a.body)
	}
	if got := s.must(200, "GET", "/datastore/label?label=hippocampus_045&tag=same", nil, nil).body; !bytes.Equal(got, same) {
		t.Error("a label on the image's own grid was changed")
	}
	flipped, m, err := want.Orient("LPS")
	if err != nil {
		t.Fatal(err)
	}
	l, err := imaging.LabelMapOf(want)
	if err != nil {
		t.Fatal(err)
	}
	other, ok := codec.Align(l, flipped)
	if !ok || m.Flip == [3]bool{} {
		t.Fatal("the flipped grid does not fit")
	}
	if a := put("flipped", "x.nrrd", encode(t, ".nrrd", other)); a.status != 200 || strings.Contains(string(a.body), "warnings") {
		t.Errorf("flipped: %d %s", a.status, a.body)
	}
	if got := get("flipped", "x.nrrd"); grid.Distance(got.Grid) > 1e-9 || !sameVoxels(got, want) {
		t.Error("a flipped label was not put back onto the image's grid")
	}
	moved := *l
	moved.Affine[0][3] += 0.0005
	if a := put("near", "x.nii", encode(t, ".nii", &moved)); a.status != 200 || strings.Contains(string(a.body), "warnings") {
		t.Errorf("near: %d %s", a.status, a.body)
	}
	if got := get("near", "x.nii"); grid.Distance(got.Grid) > 1e-6 {
		t.Error("a label half a thousandth of a voxel off was not put onto the grid")
	}
	moved.Affine[0][3] += 5
	a := put("far", "x.nii", encode(t, ".nii", &moved))
	if a.status != 200 || !strings.HasPrefix(string(a.body), `{"image":"hippocampus_045","label":"hippocampus_045","warnings":["`) {
		t.Errorf("far: %d %s", a.status, a.body)
	}
	put("final", "x.nii", encode(t, ".nii", &moved))
	if pairs := s.must(200, "GET", "/datastore/?output=train", nil, nil).body; bytes.Contains(pairs, []byte("hippocampus_045")) {
		t.Error("a label off its image's grid would be trained on")
	}
	float := imaging.NewVolume(grid, 1, imaging.Float32)
	float.Data.(imaging.Samples[float32])[7] = 2
	if a := put("float", "x.nii.gz", encodeVolume(t, float)); a.status != 200 {
		t.Errorf("whole numbers as float: %d %s", a.status, a.body)
	}
	float.Data.(imaging.Samples[float32])[7] = 2.5
	if a := put("half", "x.nii.gz", encodeVolume(t, float)); a.status != 400 {
		t.Errorf("2.5: %d %s", a.status, a.body)
	}
	if a := put("two", "x.nii.gz", encodeVolume(t, imaging.NewVolume(grid, 2, imaging.Uint8))); a.status != 400 {
		t.Errorf("two channels: %d %s", a.status, a.body)
	}
	var layers bytes.Buffer
	if err := codec.Write(&layers, ".seg.nrrd", imaging.NewVolume(grid, 2, imaging.Uint8), codec.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if a := put("layers", "x.seg.nrrd", layers.Bytes()); a.status != 200 || !strings.Contains(string(a.body), `"warnings":["the label has several layers`) {
		t.Errorf("overlapping segments of Slicer: %d %s", a.status, a.body)
	}
	if got := s.must(200, "GET", "/datastore/label?label=hippocampus_045&tag=layers", nil, nil).body; !bytes.Equal(got, layers.Bytes()) {
		t.Error("a label of several layers was changed")
	}
	if a := put("cut", "x.nii.gz", same[:len(same)/2]); a.status != 400 {
		t.Errorf("truncated: %d %s", a.status, a.body)
	}
	raw := make([]byte, grid.Voxels())
	for i := range raw {
		raw[i] = byte(l.Data[i])
	}
	if a := put("raw", "label.bin", raw); a.status != 200 {
		t.Errorf("raw: %d %s", a.status, a.body)
	}
	if got := get("raw", "x.nii.gz"); !sameVoxels(got, want) || grid.Distance(got.Grid) > 1e-4 {
		t.Error("the raw label came back different")
	}
	if a := put("raw", "label.bin", raw[1:]); a.status != 400 {
		t.Errorf("short raw: %d %s", a.status, a.body)
	}
	for _, name := range []string{"x.json", "x.xml"} {
		if a := put("opaque", name, []byte("{}")); a.status != 200 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := put("none", "noextension", []byte("{}")); a.status != 400 {
		t.Errorf("no extension: %d %s", a.status, a.body)
	}
	info := s.must(200, "GET", "/datastore/?output=all", nil, nil).object(t).Sub("objects").Sub("hippocampus_045").Sub("labels")
	if keys := strings.Join(info.Keys(), " "); keys != "same flipped near far final float layers raw opaque" {
		t.Errorf("tags %s", keys)
	}
}

func encode(t testing.TB, ext string, l *imaging.LabelMap) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := codec.WriteLabels(&b, ext, l, imaging.Uint8, codec.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func encodeVolume(t testing.TB, v *imaging.Volume) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := codec.Write(&b, ".nii.gz", v, codec.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sameVoxels(a, b *imaging.Volume) bool {
	if a.Data.Len() != b.Data.Len() {
		return false
	}
	for i := range a.Data.Len() {
		if a.Data.At(i) != b.Data.At(i) {
			return false
		}
	}
	return true
}

// TestRestoreLabels: voxels hold 1..N unless the manifest's values are asked
// for; the names always come with the manifest's.
func TestRestoreLabels(t *testing.T) {
	engine := newThresholds("segmentation")
	engine.info.Labels = []infer.Label{{Name: "liver", Value: 6}, {Name: "spleen", Value: 300}}
	s := serve(t, testApp(t, func(o *apps.Options) { o.Engine = engine }), Options{})
	run := func(status int, params string) answer {
		h, form := formBody(t, field{key: "params", data: []byte(params)})
		return s.must(status, "POST", "/infer/segmentation?image=hippocampus_045&output=image", h, form)
	}
	values := func(a answer) map[float64]bool {
		v, set := decode(t, "r.nrrd", a.body), map[float64]bool{}
		for i := range v.Data.Len() {
			set[v.Data.At(i)] = true
		}
		return set
	}
	if got := values(run(200, `{"result_extension":".nrrd"}`)); len(got) != 3 || !got[1] || !got[2] {
		t.Errorf("by default the voxels hold %v", got)
	}
	if got := values(run(200, `{"result_extension":".nrrd","restore_label_idx":true}`)); len(got) != 3 || !got[6] || !got[300] {
		t.Errorf("restored voxels hold %v", got)
	}
	if got := values(run(200, `{"result_extension":".nrrd","restore_label_idx":"false"}`)); !got[1] {
		t.Errorf("\"false\" is taken for true: %v", got)
	}
	run(422, `{"result_extension":".nrrd","restore_label_idx":true,"result_dtype":"uint8"}`)
	h, form := formBody(t, field{key: "params", data: []byte("{}")})
	res := s.must(200, "POST", "/infer/segmentation?image=hippocampus_045&output=json", h, form).object(t)
	if got := string(marshal(t, res.Sub("label_names"))); got != `{"liver":6,"spleen":300}` {
		t.Errorf("label_names %s", got)
	}
	if keys := strings.Join(res.Sub("centroids").Keys(), " "); keys != "label_1 label_2" {
		t.Errorf("centroids %s", keys)
	}
}

// TestSaveLabelOfAnInference keeps the result under its tag with its params.
func TestSaveLabelOfAnInference(t *testing.T) {
	s := serve(t, testApp(t, nil), Options{})
	run := func(params string) {
		h, form := formBody(t, field{key: "params", data: []byte(params)})
		s.must(200, "POST", "/infer/segmentation?image=hippocampus_051&output=json", h, form)
	}
	run(`{"save_label":"false"}`)
	s.must(404, "GET", "/datastore/label?label=hippocampus_051&tag=original", nil, nil)
	run(`{"save_label":true}`)
	run(`{"save_label":true,"label_tag":"draft","result_extension":".nrrd"}`)
	info := s.must(200, "GET", "/datastore/label/info?label=hippocampus_051&tag=original", nil, nil).object(t)
	if keys := strings.Join(info.Keys(), " "); keys != "model params model_version ts name" || info.Sub("params").Sub("label_names").Len() != 2 {
		t.Errorf("info %s", marshal(t, info))
	}
	a := s.must(200, "GET", "/datastore/label?label=hippocampus_051&tag=draft", nil, nil)
	if g := gridOf(t, "051"); g.Distance(decode(t, "l.nrrd", a.body).Grid) > 1e-4 {
		t.Error("the saved label is off its image's grid")
	}
}

// TestEverythingAtOnce mixes requests of all kinds; run with -race.
func TestEverythingAtOnce(t *testing.T) {
	app := testApp(t, nil)
	s := serve(t, app, Options{})
	h, form := formBody(t, field{key: "params", data: []byte(`{"save_label":true}`)})
	lh, label := formBody(t, field{key: "label", name: "l.nii.gz", data: labelBytes(t, gridOf(t, "045"))})
	sh, session := formBody(t, field{key: "files", name: "u.nii.gz", data: caseFile(t, "045")})
	js := map[string]string{"Content-Type": "application/json"}
	var wg sync.WaitGroup
	for i := range 4 {
		for _, work := range []func(){
			func() { s.must(200, "POST", "/infer/segmentation?image=hippocampus_045", h, form) },
			func() {
				s.must(200, "PUT", fmt.Sprintf("/datastore/label?image=hippocampus_045&tag=version_%d", i), lh, label)
			},
			func() { s.must(200, "GET", "/info/", nil, nil) },
			func() { s.must(200, "POST", "/activelearning/random", js, []byte("{}")) },
			func() { s.must(200, "GET", "/datastore/?output=all", nil, nil) },
			func() { s.must(200, "GET", "/datastore/dataset", nil, nil) },
			func() { s.must(200, "GET", "/metrics", nil, nil) },
			func() { s.do("POST", "/train/m", js, []byte("{}")) },
			func() {
				id := s.must(200, "PUT", "/session/", sh, session).object(t).String("session_id")
				s.must(200, "POST", "/infer/segmentation?image=&session_id="+id+"&output=image", h, form)
				s.must(200, "DELETE", "/session/"+id, nil, nil)
			},
		} {
			wg.Go(work)
		}
	}
	wg.Wait()
	if left := tempFiles(t, app); len(left) > 0 {
		t.Errorf("temp files are left: %v", left)
	}
	labels := s.must(200, "GET", "/datastore/", nil, nil).object(t).Sub("label_tags")
	if labels.Len() != 6 { // final, original, version_0…3
		t.Errorf("tags %s", marshal(t, labels))
	}
}
