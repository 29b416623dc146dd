package triage

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/strategies"
)

// volume holds the values of fn(i, j, k) on a grid with the given axes.
func volume(affine imaging.Affine, size [3]int, fn func(i, j, k int) float32) *imaging.Volume {
	data := make(imaging.Samples[float32], size[0]*size[1]*size[2])
	n := 0
	for k := range size[2] {
		for j := range size[1] {
			for i := range size[0] {
				data[n] = fn(i, j, k)
				n++
			}
		}
	}
	return &imaging.Volume{Grid: imaging.Grid{Size: size, Affine: affine}, Channels: 1, Slope: 1, Data: data}
}

// TestDraw finds the slice with the most uncertainty in whatever order the file
// has its axes, and shows it as radiologists look at it.
func TestDraw(t *testing.T) {
	hot := [3]int{3, 8, 5}    // R, A, S
	size := [3]int{12, 14, 9} // R, A, S
	for _, tt := range []struct {
		name        string
		affine      imaging.Affine // of the file's axes
		source      [3]int         // file axis of R, A, S
		flip        [3]bool
		axis, slice int
	}{
		{"RAS", imaging.Affine{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}}, [3]int{0, 1, 2}, [3]bool{}, 2, 5},
		{"LPI", imaging.Affine{{-1, 0, 0, 0}, {0, -1, 0, 0}, {0, 0, -1, 0}}, [3]int{0, 1, 2}, [3]bool{true, true, true}, 2, 3},
		{"SRA", imaging.Affine{{0, 1, 0, 0}, {0, 0, 1, 0}, {1, 0, 0, 0}}, [3]int{1, 2, 0}, [3]bool{}, 0, 5},
	} {
		var fileSize [3]int
		for d, s := range tt.source {
			fileSize[s] = size[d]
		}
		ras := func(i, j, k int) (p [3]int) {
			at := [3]int{i, j, k}
			for d, s := range tt.source {
				if p[d] = at[s]; tt.flip[d] {
					p[d] = size[d] - 1 - p[d]
				}
			}
			return p
		}
		img := volume(tt.affine, fileSize, func(i, j, k int) float32 { return float32(ras(i, j, k)[1]) }) // bright in front
		heat := volume(tt.affine, fileSize, func(i, j, k int) float32 {
			if ras(i, j, k) == hot {
				return math.Ln2
			}
			return 0.01
		})
		p, err := Draw(t.Context(), img, heat)
		if err != nil {
			t.Fatal(err)
		}
		if p.Axis != tt.axis || p.Slice != tt.slice {
			t.Errorf("%s: slice %d along axis %d, want %d along %d", tt.name, p.Slice, p.Axis, tt.slice, tt.axis)
		}
		b := p.Image.Bounds()
		if b.Dy() != longest || b.Dx() != 192 { // 12 of 14 mm
			t.Errorf("%s: %v pixels", tt.name, b)
		}
		// The patient's right (R = 11) is on the left, the front (A = 13) on top.
		at := func(r, a int) (uint32, uint32, uint32) {
			red, green, blue, _ := p.Image.At((11-r)*16+8, (13-a)*16+8).RGBA()
			return red >> 8, green >> 8, blue >> 8
		}
		if r, g, b := at(hot[0], hot[1]); r < 200 || g < 150 || b > 100 {
			t.Errorf("%s: the least sure voxel is %d %d %d", tt.name, r, g, b)
		}
		if r, g, b := at(8, 13); r < 240 || r != g || g != b {
			t.Errorf("%s: the front is %d %d %d", tt.name, r, g, b)
		}
		if r, _, _ := at(8, 0); r > 10 {
			t.Errorf("%s: the back is %d", tt.name, r)
		}
	}
	flat := volume(imaging.Identity(), [3]int{4, 4, 4}, func(int, int, int) float32 { return 7 })
	none := volume(imaging.Identity(), [3]int{4, 4, 4}, func(int, int, int) float32 { return 0 })
	if p, err := Draw(t.Context(), flat, none); err != nil || p.Slice != 2 {
		t.Errorf("%+v %v", p, err)
	}
	if _, err := Draw(t.Context(), flat, volume(imaging.Identity(), [3]int{4, 4, 5}, func(int, int, int) float32 { return 0 })); err == nil {
		t.Error("a map of another size")
	}
}

const evil = `<script>alert("x")</script>`

// folder is a set of images with scores, one of which cannot be read.
func folder(t *testing.T) Options {
	t.Helper()
	scores := map[string]float64{"a": 0.1, "b": 0.4, evil: 0.3, "labelled": 0.9}
	var images []Image
	for _, id := range []string{"a", "b", evil, "labelled", "broken"} {
		images = append(images, Image{ID: id, Files: []string{"/studies/" + id + ".nii.gz"}, Labelled: id == "labelled"})
	}
	return Options{
		Images: images, Model: "m", Spec: strategies.Spec{Kind: strategies.KindEntropy, Diversity: strategies.Undiverse},
		Look: func(ctx context.Context, img Image) (*Looked, error) {
			s, ok := scores[img.ID]
			if !ok {
				return nil, fault.New(fault.Invalid, "the file is cut off %s", evil)
			}
			ob := &strategies.Observation{
				Image: img.ID, Model: "m", Version: "v", Passes: strategies.Augmented, Count: 8, Aggregation: "foreground",
				Scores:  map[strategies.Measure]float64{strategies.Entropy: s, strategies.Dice: s / 2},
				Regions: []strategies.Region{{Min: [3]int{1, 2, 3}, Max: [3]int{4, 5, 6}, Volume: 64, Mean: 0.5}}, Time: 1,
			}
			v := volume(imaging.Identity(), [3]int{4, 4, 4}, func(i, _, _ int) float32 { return float32(i) })
			p, err := Draw(ctx, v, v)
			return &Looked{Observation: ob, Picture: p}, err
		},
	}
}

func TestRankingIsWritten(t *testing.T) {
	var told []int
	o := folder(t)
	o.Done = func(done, of int) { told = append(told, done, of) }
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(told, []int{1, 5, 2, 5, 3, 5, 4, 5, 5, 5}) {
		t.Errorf("told %v", told)
	}
	dir := filepath.Join(t.TempDir(), "out")
	if err := r.WriteTo(dir); err != nil {
		t.Fatal(err)
	}
	read := func(name string) []byte {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	lines, err := csv.NewReader(bytes.NewReader(read(CSVFile))).ReadAll()
	if err != nil || len(lines) != 4 {
		t.Fatalf("%v %v", lines, err)
	}
	var got []string
	for _, l := range lines[1:] {
		got = append(got, l[0]+" "+l[1]+" "+l[3])
	}
	if want := []string{"1 b 0.4", "2 " + evil + " 0.3", "3 a 0.1"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if i := slices.Index(lines[0], "dice"); lines[1][i] != "0.2" || lines[1][slices.Index(lines[0], "bald")] != "" || lines[1][slices.Index(lines[0], "slice")] != "0" {
		t.Errorf("%q\n%q", lines[0], lines[1])
	}
	var doc struct {
		Model, Version, Passes string
		Labelled               int
		Strategy               map[string]any
		Images                 []struct {
			ID          string
			Explanation struct{ Rank, Of int }
			Observation strategies.Observation
		}
		Skipped []Skip
	}
	if err := json.Unmarshal(read(JSONFile), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Model != "m" || doc.Version != "v" || doc.Passes != "8 of tta" || doc.Labelled != 1 || doc.Strategy["name"] != "entropy" || len(doc.Images) != 3 ||
		doc.Images[1].ID != evil || doc.Images[1].Explanation.Rank != 2 || doc.Images[1].Observation.Scores["entropy"] != 0.3 ||
		len(doc.Skipped) != 1 || doc.Skipped[0].ID != "broken" {
		t.Errorf("%+v", doc)
	}
	html := string(read(HTMLFile))
	if strings.Contains(html, "<script") || !strings.Contains(html, "&lt;script&gt;") {
		t.Error("a name became part of the page")
	}
	if strings.Contains(html, "http://") || strings.Contains(html, "https://") || strings.Contains(html, "ZgotmplZ") {
		t.Error("the page needs something else")
	}
	pictures := regexp.MustCompile(`src="data:image/png;base64,([^"]+)"`).FindAllStringSubmatch(html, -1)
	if len(pictures) != 3 || !strings.Contains(html, "i 1–4, j 2–5, k 3–6, 64 mm³") {
		t.Fatalf("%d pictures", len(pictures))
	}
	for _, m := range pictures {
		data, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(m[1], "&#43;", "+"))
		if err != nil {
			t.Fatal(err)
		}
		if p, err := png.Decode(bytes.NewReader(data)); err != nil || p.Bounds().Dx() != longest {
			t.Errorf("%v", err)
		}
	}
}

func TestNothingToRank(t *testing.T) {
	o := folder(t)
	o.Images = o.Images[3:4]
	if _, err := Run(t.Context(), o); fault.KindOf(err) != fault.NotFound {
		t.Errorf("only labelled images: %v", err)
	}
	o = folder(t)
	o.Images = o.Images[4:]
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("only a broken image: %v", err)
	}
	o = folder(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, o); fault.KindOf(err) != fault.Canceled {
		t.Errorf("stopped: %v", err)
	}
	o.Spec.Kind = "none"
	if _, err := Run(t.Context(), o); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no strategy: %v", err)
	}
}

// TestEveryStrategyRanks puts every image in its place.
func TestEveryStrategyRanks(t *testing.T) {
	for _, k := range strategies.Kinds() {
		o := folder(t)
		o.Spec = strategies.Spec{Kind: k, Diversity: strategies.Undiverse}
		r, err := Run(t.Context(), o)
		if err != nil {
			t.Fatalf("%s: %v", k, err)
		}
		seen := map[string]bool{}
		for _, row := range r.Rows {
			seen[row.Image.ID] = true
			if row.Explanation.Why == "" {
				t.Errorf("%s says nothing about %s", k, row.Image.ID)
			}
		}
		if len(seen) != 3 || len(r.Rows) != 3 {
			t.Errorf("%s ranks %d of 3", k, len(seen))
		}
	}
}
