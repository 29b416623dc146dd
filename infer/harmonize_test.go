package infer

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/harmonize"
)

// fitted returns the JSON of a model that was learned from two ramps.
func fitted(t *testing.T, o harmonize.FitOptions) []byte {
	t.Helper()
	m, failed, err := harmonize.Fit(t.Context(), 2, func(_ context.Context, i int) (harmonize.Sample, error) {
		v := make([]float32, 1000)
		for k := range v {
			v[k] = float32((k + 1) * (i + 1))
		}
		return harmonize.Sample{Values: v, Site: []string{"east", "north"}[i]}, nil
	}, o)
	if err != nil || len(failed) > 0 {
		t.Fatal(err, failed)
	}
	var b bytes.Buffer
	if err := m.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const stepManifest = `
modality: %s
inputs: [{source: "image[%s]", normalize: [%s]}]
window: {size: [8, 8, 8]}
outputs: [{activation: softmax}]
labels: [{name: a, value: 1}]
`

// folderOf is a model folder with files besides the manifest.
func folderOf(manifest string, files map[string][]byte) fstest.MapFS {
	f := fstest.MapFS{ManifestFile: {Data: []byte(manifest)}, NetworkFile: {Data: []byte("network")}}
	for name, data := range files {
		f[name] = &fstest.MapFile{Data: data}
	}
	return f
}

// prepared10 is a 10×10×10 image, 0 in the first half of x, as the network
// gets it after one step.
func prepared10(t *testing.T, step string, files map[string][]byte, at func(x, y, z int) float32) (func(x, y, z int) float64, error) {
	t.Helper()
	m, _, err := readModel(folderOf(fmt.Sprintf(stepManifest, "MR", "MR", step), files))
	if err != nil {
		t.Fatal(err)
	}
	v := volumeOf(1, [3]int{10, 10, 10}, func(_, x, y, z int) float32 { return at(x, y, z) })
	p, err := m.prepare(t.Context(), Input{Volumes: []*imaging.Volume{v}}, 1<<20, &buffers{})
	if err != nil {
		return nil, err
	}
	return func(x, y, z int) float64 { return float64(p.channel(0)[(x*10+y)*10+z]) }, nil
}

// ball is 0 outside of a box, 0 in a hole within it, and a ramp elsewhere.
func ball(x, y, z int) float32 {
	if min(x, y, z) < 2 || max(x, y, z) > 7 || (x == 4 && y == 4 && z == 4) {
		return 0
	}
	return float32(100 + 10*x + z)
}

// TestHarmonizingSteps runs every step through the pipeline and compares it
// with its formula.
func TestHarmonizingSteps(t *testing.T) {
	var all, inside, above []float64
	for i := range 1000 {
		x, y, z := i/100, i/10%10, i%10
		v := float64(ball(x, y, z))
		all = append(all, v)
		if min(x, y, z) >= 2 && max(x, y, z) <= 7 {
			inside = append(inside, v)
		}
	}
	m, s := moments(all)
	for _, v := range all {
		if v > m {
			above = append(above, v)
		}
	}
	mi, si := moments(inside)
	ma, sa := moments(above)
	zscore := fitted(t, harmonize.FitOptions{Method: harmonize.ZScoreSite})
	setMean, setStd := 1001., 2*math.Sqrt((1000*1000-1)/12.) // of 2, 4, … 2000
	for _, c := range []struct {
		step    string
		outside float64
		inside  func(v float64) float64 // of a voxel of the box
	}{
		{"nnunet_zscore: {}", -m / s, func(v float64) float64 { return (v - m) / s }},
		{"nnunet_zscore: {mask: nonzero}", 0, func(v float64) float64 { return (v - mi) / si }},
		{"zscore: {voxels: foreground}", -ma / sa, func(v float64) float64 { return (v - ma) / sa }},
		{"ct: {lower: 120, upper: 160, mean: 130, std: 20}", -0.5, func(v float64) float64 { return (min(max(v, 120), 160) - 130) / 20 }},
		{"harmonize: {file: h.json, site: north}", -setMean / setStd, func(v float64) float64 { return (v - setMean) / setStd }},
		{"harmonize: {file: h.json, test_time: 1}", -m / s, func(v float64) float64 { return (v - m) / s }},
	} {
		at, err := prepared10(t, c.step, map[string][]byte{"h.json": zscore}, ball)
		if err != nil {
			t.Fatalf("%s: %v", c.step, err)
		}
		near := func(what string, got, want float64) {
			if math.Abs(got-want) > 1e-5 {
				t.Errorf("%s: %s is %g, want %g", c.step, what, got, want)
			}
		}
		near("outside", at(0, 5, 5), c.outside)
		near("a voxel", at(3, 5, 6), c.inside(136))
		near("the brightest", at(7, 7, 7), c.inside(177))
		near("the hole", at(4, 4, 4), c.inside(0))
	}
}

func moments(v []float64) (mean, std float64) {
	for _, x := range v {
		mean += x / float64(len(v))
	}
	for _, x := range v {
		std += (x - mean) * (x - mean) / float64(len(v))
	}
	return mean, math.Sqrt(std)
}

// TestHistogramNormalizeStep: the running sum of a histogram of squares.
func TestHistogramNormalizeStep(t *testing.T) {
	at, err := prepared10(t, "histogram_normalize: {bins: 10, to: [-1, 1]}", nil, func(x, _, _ int) float32 { return float32(x * x) })
	if err != nil {
		t.Fatal(err)
	}
	// 25 lies between the centres 20.25 and 28.35 of bins of 8.1, up to which
	// there are 5 and 6 of 10 values; 3 are in the first bin.
	want := (5+(25-20.25)/8.1-3)/(10-3)*2 - 1
	if at(0, 0, 0) != -1 || at(9, 3, 3) != 1 || math.Abs(at(5, 0, 0)-want) > 1e-6 {
		t.Errorf("%g, %g and %g, want -1, %g and 1", at(0, 0, 0), at(5, 0, 0), at(9, 3, 3), want)
	}
	defaults, err := prepared10(t, "histogram_normalize: {}", nil, func(x, _, _ int) float32 { return float32(x) })
	if err != nil || defaults(0, 0, 0) != 0 || defaults(9, 0, 0) != 255 {
		t.Errorf("%v, from %g to %g, want 0 to 255", err, defaults(0, 0, 0), defaults(9, 0, 0))
	}
}

// TestNyulStep: an image that is a multiple of another gives the same input.
func TestNyulStep(t *testing.T) {
	files := map[string][]byte{"nyul.json": fitted(t, harmonize.FitOptions{Method: harmonize.Nyul, Modality: "mr"})}
	var got [2]float64
	for i, scale := range []float32{1, 3000} {
		at, err := prepared10(t, "harmonize: {file: nyul.json}", files, func(x, y, z int) float32 { return scale * float32(100*x+10*y+z) })
		if err != nil {
			t.Fatal(err)
		}
		got[i] = at(7, 5, 0)
		if got[i] < 45 || got[i] > 55 {
			t.Errorf("the median of the foreground is %g on the scale of 1..100", got[i])
		}
	}
	if math.Abs(got[0]-got[1]) > 1e-3 {
		t.Errorf("%g and, of the same image with another scale, %g", got[0], got[1])
	}
}

// TestHarmonizingBadImage: a message for the client, naming the channel.
func TestHarmonizingBadImage(t *testing.T) {
	files := map[string][]byte{"h.json": fitted(t, harmonize.FitOptions{Method: harmonize.Nyul})}
	nan := func(x, _, _ int) float32 {
		if x == 3 {
			return float32(math.NaN())
		}
		return float32(x)
	}
	flat := func(_, _, _ int) float32 { return 4 }
	for _, c := range []struct {
		step string
		at   func(x, y, z int) float32
		want string
	}{
		{"harmonize: {file: h.json}", flat, "channel image[MR]: the image has no foreground"},
		{"harmonize: {file: h.json}", nan, "channel image[MR]: 100 of 1000 voxels are NaN"},
		{"ct: {lower: 0, upper: 1, mean: 0, std: 1}", nan, "NaN"},
		{"nnunet_zscore: {}", nan, "NaN"},
		{"zscore: {voxels: foreground}", flat, "no foreground"},
		{"histogram_normalize: {}", nan, "NaN"},
	} {
		_, err := prepared10(t, c.step, files, c.at)
		if msg, _ := fault.Message(err); fault.KindOf(err) != fault.Invalid || !strings.Contains(msg, c.want) {
			t.Errorf("%s: %v error %v, want %q in it", c.step, fault.KindOf(err), err, c.want)
		}
	}
}

// TestHarmonizeRefused wants the file, the key and the reason.
func TestHarmonizeRefused(t *testing.T) {
	ct := fitted(t, harmonize.FitOptions{Method: harmonize.CT, Foreground: harmonize.All, Modality: "CT"})
	sites := fitted(t, harmonize.FitOptions{Method: harmonize.ZScoreSite})
	files := map[string][]byte{
		"ct.json": ct, "sites.json": sites, "cut.json": ct[:len(ct)/2], "key.json": bytes.Replace(ct, []byte(`"method"`), []byte(`"colour": 1, "method"`), 1),
		"method.json": bytes.Replace(ct, []byte(`"method": "ct"`), []byte(`"method": "combat"`), 1), "sub/ct.json": ct,
	}
	const at = "manifest.yaml: inputs[0].normalize[0]."
	for _, c := range []struct{ modality, step, want string }{
		{"MR", "harmonize: {}", at + "harmonize.file: is missing"},
		{"MR", "harmonize: {file: none.json}", at + "harmonize.file: none.json: it is not in the model folder"},
		{"MR", "harmonize: {file: ../ct.json}", at + `harmonize.file: "../ct.json" is not the name`},
		{"MR", "harmonize: {file: sub/ct.json}", at + "harmonize.file: "},
		{"MR", "harmonize: {file: model.onnx}", at + "harmonize.file: "},
		{"MR", "harmonize: {file: sub}", at + "harmonize.file: sub: it is no plain file"},
		{"MR", "harmonize: {file: cut.json}", at + "harmonize.file: cut.json: no harmonisation model"},
		{"CT", "harmonize: {file: key.json}", `unknown field "colour"`},
		{"CT", "harmonize: {file: method.json}", `method "combat" is none of`},
		{"MR", "harmonize: {file: ct.json}", at + "harmonize: ct.json: method ct was fitted on modality CT, but this channel is MR"},
		{"CT", "harmonize: {file: ct.json, site: a}", at + "harmonize: ct.json: method ct has no sites"},
		{"CT", "harmonize: {file: ct.json, test_time: 2}", at + "harmonize.test_time: 2"},
		{"CT", "harmonize: {file: ct.json, weight: 2}", at + "harmonize.weight: unknown key"},
		{"CT", "harmonize: {file: sites.json}", "needs a site: east, north"},
		{"CT", "harmonize: {file: sites.json, site: south}", `site "south" is none of east, north`},
		{"CT", "ct: {lower: 0, upper: 1, mean: 0}", at + "ct.std: is missing"},
		{"CT", "ct: {lower: 1, upper: 1, mean: 0, std: 1}", at + "ct.upper: 1 is not above"},
		{"CT", "ct: {lower: 0, upper: 1, mean: 0, std: 0}", at + "ct.std: 0"},
		{"CT", "nnunet_zscore: {mask: some}", at + "nnunet_zscore.mask: "},
		{"CT", "histogram_normalize: {bins: 1}", at + "histogram_normalize.bins: 1"},
		{"CT", "histogram_normalize: {to: [1, 0]}", at + "histogram_normalize.to: "},
		{"CT", "histogram_normalize: {voxels: some}", at + "histogram_normalize.voxels: "},
		{"CT", "zscore: {voxels: foreground, scope: all}", at + "zscore.voxels: foreground is found"},
		{"CT", "{nnunet_zscore: {}, clip: [0, 1]}", at[:len(at)-1] + ": exactly one step"},
	} {
		_, _, err := readModel(folderOf(fmt.Sprintf(stepManifest, c.modality, c.modality, c.step), files))
		if msg, _ := fault.Message(err); fault.KindOf(err) != fault.Invalid || !strings.Contains(msg, c.want) {
			t.Errorf("%s: %v error %v, want %q in it", c.step, fault.KindOf(err), err, c.want)
		}
	}
	for _, modality := range []string{"CT", "ct"} {
		if _, _, err := readModel(folderOf(fmt.Sprintf(stepManifest, modality, modality, "harmonize: {file: ct.json}"), files)); err != nil {
			t.Errorf("modality %s: %v", modality, err)
		}
	}
}

// TestHarmonizeLink: a link may lead out of the model folder.
func TestHarmonizeLink(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "h.json"), fitted(t, harmonize.FitOptions{Method: harmonize.Nyul}))
	model := t.TempDir()
	write(t, filepath.Join(model, NetworkFile), []byte("network"))
	write(t, filepath.Join(model, ManifestFile), fmt.Appendf(nil, stepManifest, "MR", "MR", "harmonize: {file: h.json}"))
	if err := os.Symlink(filepath.Join(dir, "h.json"), filepath.Join(model, "h.json")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := readModel(os.DirFS(model)); err == nil || !strings.Contains(err.Error(), "no plain file") {
		t.Errorf("error %v", err)
	}
}

// TestContentID: a model's hash is that of all its files; those without a
// fitted model keep theirs.
func TestContentID(t *testing.T) {
	manifest := fmt.Sprintf(stepManifest, "MR", "MR", "harmonize: {file: h.json}")
	ids := make(map[string]bool)
	for _, method := range []harmonize.Method{harmonize.Nyul, harmonize.ZScore, harmonize.Nyul} {
		m, data, err := readModel(folderOf(manifest, map[string][]byte{"h.json": fitted(t, harmonize.FitOptions{Method: method})}))
		if err != nil {
			t.Fatal(err)
		}
		ids[contentID([]byte("network"), data, m.attached)] = true
	}
	if len(ids) != 2 {
		t.Errorf("%d hashes for two contents", len(ids))
	}
	if got := contentID([]byte("a"), []byte("b"), nil); got != "e5a01fee14e0ed5c48714f22180f25ad" {
		t.Errorf("a model of two files has the hash %s", got)
	}
}
