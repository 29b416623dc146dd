package infer

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/transform"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/ort/orttest"
	"github.com/voxloop/voxloop/internal/testkit"
)

func pipeline(t testing.TB, manifest, network string) *Pipeline {
	t.Helper()
	p, err := OpenPipeline(os.DirFS(modelDir(t, manifest, network)), PipelineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// hippocampusCases are real images and labels of varying size.
var hippocampusCases = []string{"hippocampus_001.nii.gz", "hippocampus_044.nii.gz", "hippocampus_199.nii.gz"}

// A network that a Pipeline opens gives the label map that the registry's
// inference gives, voxel by voxel, and the cases are prepared to the same bits.
func TestEvaluatorIsTheServingPipeline(t *testing.T) {
	network := testkit.Shared(t, "models", "hippocampus", NetworkFile)
	data := testkit.Shared(t, "data", "hippocampus")
	r := serve(t, ort.CPU, hippocampusManifest, network)
	p := pipeline(t, hippocampusManifest, network)
	start := time.Now()
	e, err := p.Evaluator(t.Context(), orttest.Runtime(t), p.Network(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("opened in %v", time.Since(start))
	for _, name := range hippocampusCases {
		in := Input{Volumes: []*imaging.Volume{volume(t, filepath.Join(data, "images", name))}}
		want, err := r.Infer(t.Context(), "m", in, Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.Run(t.Context(), in, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if n := differing(t, got, want.Labels); n != 0 || got.Max() == 0 {
			t.Errorf("%s: %d voxels differ, largest label %d", name, n, got.Max())
		}
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if _, err := e.Run(t.Context(), Input{}, Options{}); err == nil {
		t.Error("a closed network ran")
	}
	if err := e.Close(); err != nil {
		t.Error("second Close:", err)
	}
}

// prepareBoth prepares a case for training, and its image as an inference does.
func prepareBoth(t *testing.T, p *Pipeline, in Input, truth *imaging.LabelMap) (*Case, *prepared) {
	t.Helper()
	c, err := p.Prepare(t.Context(), in, truth)
	if err != nil {
		t.Fatal(err)
	}
	ready, err := p.m.prepare(t.Context(), in, p.o.MaxVoxels, &p.pool)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.pool.put(ready.data) })
	if !slices.Equal(c.Image, ready.data) || c.Size != ready.layout.Size || c.Channels*c.Size[0]*c.Size[1]*c.Size[2] != len(c.Image) {
		t.Error("the image is not what inference prepares")
	}
	return c, ready
}

// Prepared labels brought back onto the image's grid are the labels: exactly
// where the spacing is the image's own.
func TestPreparedLabelsGoBack(t *testing.T) {
	network := testkit.Shared(t, "models", "hippocampus", NetworkFile)
	data := testkit.Shared(t, "data", "hippocampus")
	name := hippocampusCases[0]
	truth := labelMap(t, filepath.Join(data, "labels", name))
	in := Input{Volumes: []*imaging.Volume{volume(t, filepath.Join(data, "images", name))}}
	for _, tt := range []struct {
		name, from, to string
		least          float64 // Dice of each class after the way there and back
	}{
		{"as stored", "orientation: RAS", "orientation: RAS", 1},
		{"turned", "orientation: RAS", "orientation: PIL", 1},
		{"zyx", "axes: xyz", "axes: zyx", 1},
		{"finer", "spacing: native", "spacing: [0.5, 0.7, 0.9]", 0.93},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pipeline(t, strings.Replace(hippocampusManifest, tt.from, tt.to, 1), network)
			c, ready := prepareBoth(t, p, in, truth)
			plan, err := transform.NewPlan(ready.layout, transform.Stored(truth.Grid), transform.Options{Nearest: true})
			if err != nil {
				t.Fatal(err)
			}
			back := imaging.NewLabelMap(truth.Grid)
			if err := plan.Labels(t.Context(), c.Labels, back.Data); err != nil {
				t.Fatal(err)
			}
			for class := uint16(1); class <= 2; class++ {
				if d := dice(back, truth, class); !(d >= tt.least) {
					t.Errorf("class %d: Dice %.4f after the way there and back", class, d)
				}
			}
		})
	}
}

// A crop cuts labels and image by the same box, resampled ones too.
func TestPreparedLabelsAreCutLikeTheImage(t *testing.T) {
	network := testkit.Shared(t, "models", "hippocampus", NetworkFile)
	g := imaging.Grid{Size: [3]int{20, 24, 28}, Affine: imaging.Affine{{-1, 0, 0, 9}, {0, 1.5, 0, -3}, {0, 0, 2, 5}, {0, 0, 0, 1}}}
	v, truth := imaging.NewVolume(g, 1, imaging.Float32), imaging.NewLabelMap(g)
	voxels := v.Data.(imaging.Samples[float32])
	for i := range voxels {
		x, y, z := i%20, i/20%24, i/480
		if x >= 5 && x < 15 && y >= 8 && y < 20 && z >= 3 && z < 12 {
			voxels[i] = 100
			truth.Data[i] = uint16(1 + (x+y+z)%2)
		}
	}
	for _, spacing := range []string{"native", "[2, 1.5, 1]"} {
		whole := strings.Replace(hippocampusManifest, "spacing: native", "spacing: "+spacing, 1)
		whole = strings.Replace(whole, "[zscore: {voxels: all}]", "[]", 1)
		p := pipeline(t, whole, network)
		all, _ := prepareBoth(t, p, Input{Volumes: []*imaging.Volume{v}}, truth)
		p = pipeline(t, whole+"crop: {above: 50, margin: 1}\n", network)
		c, ready := prepareBoth(t, p, Input{Volumes: []*imaging.Volume{v}}, truth)
		if ready.frame == nil || len(c.Labels) >= len(all.Labels)/2 {
			t.Fatalf("%s: %v voxels are not cut out of %v", spacing, c.Size, all.Size)
		}
		want := make([]float32, len(c.Image))
		transform.CopyPadded(want, c.Size, all.Image, all.Size, ready.frame.Start, transform.PadConstant, 0)
		if !slices.Equal(c.Image, want) {
			t.Errorf("%s: the image is not the box of the whole one", spacing)
		}
		var labelled int
		for i, l := range c.Labels {
			x, y, z := i/(c.Size[1]*c.Size[2]), i/c.Size[2]%c.Size[1], i%c.Size[2]
			at := ((x+ready.frame.Start[0])*all.Size[1]+y+ready.frame.Start[1])*all.Size[2] + z + ready.frame.Start[2]
			if all.Labels[at] != l {
				t.Fatalf("%s: voxel %d has class %d, in the whole image %d", spacing, i, l, all.Labels[at])
			}
			if l > 0 {
				labelled++
			}
		}
		if spacing == "native" && labelled != 10*12*9 {
			t.Errorf("%d labelled voxels", labelled)
		}
		if s := [3]float64{1, 1.5, 2}; spacing == "native" && c.Spacing != s {
			t.Errorf("spacing %v, want %v", c.Spacing, s)
		}
	}
}
