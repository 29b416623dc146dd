package e2e

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"maps"
	"math"
	"mime"
	"mime/multipart"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/testkit"
)

// model is the one of the built-in app.
const model = "hippocampus"

// clientParams are the option values that Slicer sends back from /info/: the
// first element of a list, other values as they are.
func clientParams(t testing.TB, info map[string]any) map[string]any {
	t.Helper()
	m, ok := info["models"].(map[string]any)[model].(map[string]any)
	if !ok {
		t.Fatalf("/info/ names no model %q", model)
	}
	out := map[string]any{}
	for k, v := range m["config"].(map[string]any) {
		if l, ok := v.([]any); ok {
			v = l[0]
		}
		out[k] = v
	}
	return out
}

// segment asks for a label as Slicer does.
func (s *server) segment(image string, params map[string]any) *imaging.LabelMap {
	s.t.Helper()
	send := map[string]any{"result_extension": ".nrrd", "result_dtype": "uint8", "client_id": "user-xyz"}
	maps.Copy(send, params)
	h, body := form(send, "", "", nil)
	a := s.must(200, "POST", "/infer/"+model+"?image="+url.QueryEscape(image), h, body)
	file := filePart(s.t, a)
	v, err := codec.ReadFrom(s.t.Context(), bytes.NewReader(file), "result.nrrd", codec.Limits{})
	if err != nil {
		s.t.Fatalf("%s: the answer is no NRRD: %v", image, err)
	}
	if v.Data.Type() != imaging.Uint8 {
		s.t.Errorf("%s: voxels are %s, asked for uint8", image, v.Data.Type())
	}
	l, err := imaging.LabelMapOf(v)
	if err != nil {
		s.t.Fatal(err)
	}
	return l
}

// filePart returns the image of a multipart inference answer and checks what
// clients rely on: the order of the parts and the bare file name.
func filePart(t testing.TB, a answer) []byte {
	t.Helper()
	mt, p, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil || mt != "multipart/form-data" {
		t.Fatalf("content type %q: %v", a.header.Get("Content-Type"), err)
	}
	if !strings.HasSuffix(a.header.Get("Content-Type"), "boundary="+p["boundary"]) {
		t.Errorf("the boundary is quoted or not last: %q", a.header.Get("Content-Type"))
	}
	r := multipart.NewReader(bytes.NewReader(a.body), p["boundary"])
	first, err := r.NextPart()
	if err != nil || first.FormName() != "params" || first.FileName() != "" {
		t.Fatalf("the first part is not params: %v", err)
	}
	second, err := r.NextRawPart()
	if err != nil || second.FormName() != "image" || second.FileName() == "" || filepath.Base(second.FileName()) != second.FileName() {
		t.Fatalf("the second part is not a named image: %v", err)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(second); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func dice(a, b *imaging.LabelMap, class uint16) float64 {
	var both, sum int
	for i := range a.Data {
		if a.Data[i] == class {
			sum++
			if b.Data[i] == class {
				both++
			}
		}
		if b.Data[i] == class {
			sum++
		}
	}
	return 2 * float64(both) / float64(sum)
}

func readLabel(t testing.TB, path string) *imaging.LabelMap {
	t.Helper()
	v, err := codec.Read(t.Context(), path, codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := imaging.LabelMapOf(v)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// expectedDice reads models/hippocampus/dice_195.csv: case, anterior, posterior.
func expectedDice(t testing.TB) map[string][2]float64 {
	t.Helper()
	f, err := os.Open(testkit.Shared(t, "models", "hippocampus", "dice_195.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][2]float64{}
	for _, r := range rows[1:] {
		a, err1 := strconv.ParseFloat(r[1], 64)
		p, err2 := strconv.ParseFloat(r[2], 64)
		if err1 != nil || err2 != nil {
			t.Fatalf("row %v", r)
		}
		out[r[0]] = [2]float64{a, p}
	}
	return out
}

func datastoreCounts(info map[string]any) (total, completed int) {
	d := info["datastore"].(map[string]any)
	return int(d["total"].(float64)), int(d["completed"].(float64))
}

// TestSlicerLabelsEveryCase does what Slicer's module does, case after case,
// until no sample is left: connect, next sample, fetch the image, segment,
// save, refresh.
func TestSlicerLabelsEveryCase(t *testing.T) {
	want := expectedDice(t)
	studies := copyCases(t)
	s := start(t, studies, "--app", testkit.ReferenceApp(t))
	s.must(404, "GET", "/auth/", nil, nil)
	info := s.must(200, "GET", "/info/", nil, nil).json(t)
	if total, done := datastoreCounts(info); total != 195 || done != 0 {
		t.Fatalf("at the start %d images, %d labelled", total, done)
	}
	params := clientParams(t, info)
	var sums [2]float64
	seen := map[string]bool{}
	for n := 1; ; n++ {
		sample := s.must(200, "POST", "/activelearning/random", []string{"content-type: application/json"}, []byte(`{"client_id":"user-xyz"}`)).json(t)
		id, _ := sample["id"].(string)
		if id == "" {
			if n != 196 {
				t.Fatalf("no sample left after %d cases", n-1)
			}
			break
		}
		if seen[id] {
			t.Fatalf("%s was offered again after it was labelled", id)
		}
		seen[id] = true
		got := s.labelOne(id, params, want[id])
		for k := range sums {
			sums[k] += got[k]
		}
		if n%40 == 0 || n == 195 {
			if total, done := datastoreCounts(s.must(200, "GET", "/info/", nil, nil).json(t)); total != 195 || done != n {
				t.Fatalf("after %d saves: %d images, %d labelled", n, total, done)
			}
		}
	}
	checkMeans(t, sums, want)
	if code := s.stop(); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
}

func checkMeans(t testing.TB, sums [2]float64, want map[string][2]float64) {
	t.Helper()
	for k, name := range []string{"anterior", "posterior"} {
		var ref float64
		for _, w := range want {
			ref += w[k]
		}
		got, ref := sums[k]/195, ref/195
		t.Logf("mean Dice %s: %.5f, reference %.5f", name, got, ref)
		if math.Abs(got-ref) > 0.002 {
			t.Errorf("mean Dice %s %.5f differs from %.5f by more than 0.002", name, got, ref)
		}
	}
}

// labelOne fetches, segments, checks and saves one case; it returns the Dice
// of both labels.
func (s *server) labelOne(id string, params map[string]any, want [2]float64) [2]float64 {
	t := s.t
	t.Helper()
	img := s.must(200, "GET", "/datastore/image?image="+url.QueryEscape(id), nil, nil)
	if cd := img.header.Get("Content-Disposition"); cd != fmt.Sprintf("attachment; filename=%q", id+".nii.gz") {
		t.Errorf("content-disposition %q", cd)
	}
	v, err := codec.ReadFrom(t.Context(), bytes.NewReader(img.body), id+".nii.gz", codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	l := s.segment(id, params)
	checkGrid(t, id, v.Grid, l.Grid)
	truth := readLabel(t, testkit.Shared(t, "data", "hippocampus", "labels", id+".nii.gz"))
	got := [2]float64{dice(l, truth, 1), dice(l, truth, 2)}
	for k := range got {
		if math.Abs(got[k]-want[k]) > 0.01 {
			t.Errorf("%s: Dice of label %d is %.4f, the reference's %.4f", id, k+1, got[k], want[k])
		}
	}
	s.save(id, l)
	return got
}

func checkGrid(t testing.TB, id string, image, label imaging.Grid) {
	t.Helper()
	if image.Size != label.Size {
		t.Fatalf("%s: label of %v voxels for an image of %v", id, label.Size, image.Size)
	}
	for i := range 4 {
		for j := range 4 {
			if math.Abs(image.Affine[i][j]-label.Affine[i][j]) > 1e-4 {
				t.Fatalf("%s: affine %v, image %v", id, label.Affine, image.Affine)
			}
		}
	}
}

// save stores a label as Slicer's "Submit Label" does (no tag).
func (s *server) save(id string, l *imaging.LabelMap) {
	s.t.Helper()
	var file bytes.Buffer
	if err := codec.WriteLabels(&file, ".nii.gz", l, imaging.Uint8, codec.WriteOptions{}); err != nil {
		s.t.Fatal(err)
	}
	params := map[string]any{
		"label_info": []any{map[string]any{"name": "anterior", "idx": 1}, map[string]any{"name": "posterior", "idx": 2}},
		"model":      "hippocampus", "client_id": "user-xyz",
	}
	h, body := form(params, "label", "/tmp/Slicer-user/"+id+".nii.gz", file.Bytes())
	a := s.must(200, "PUT", "/datastore/label?image="+url.QueryEscape(id), h, body)
	if string(a.body) != fmt.Sprintf(`{"image":%q,"label":%q}`, id, id) {
		s.t.Errorf("answer to the save of %s: %s", id, a.body)
	}
}
