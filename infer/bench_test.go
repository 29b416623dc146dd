package infer

import (
	"context"
	"os"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/transform"
	"github.com/voxloop/voxloop/internal/testkit"
)

// ctManifest is the CT case of the benches: 3 mm brought to 1.5 mm, windows of
// 96³, in the range of soft tissue. The network has one
// channel in and three out.
const ctManifest = `
modality: CT
inputs:
  - {source: "image[CT]", normalize: [linear: {from: [-160, 240], to: [0, 1], clip: true}]}
orientation: RAS
spacing: [1.5, 1.5, 1.5]
window: {size: [96, 96, 96], overlap: 0.25}
outputs: [{activation: softmax}]
labels: [{name: organ, value: 1}, {name: other, value: 2}]
`

func ctCase(b *testing.B) (*Manifest, Input) {
	b.Helper()
	m, err := ParseManifest([]byte(ctManifest))
	if err != nil {
		b.Fatal(err)
	}
	return m, Input{Volumes: []*imaging.Volume{volume(b, testkit.Shared(b, "data", "totalseg_ct", "example_ct.nii.gz"))}}
}

func BenchmarkPrepareCT(b *testing.B) {
	m, in := ctCase(b)
	pool := &buffers{}
	b.ReportAllocs()
	for b.Loop() {
		p, err := m.prepare(b.Context(), in, 1<<30, pool)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(4 * int64(len(p.data)))
		pool.put(p.data)
	}
}

func BenchmarkGatherBlendCT(b *testing.B) {
	m, in := ctCase(b)
	pool := &buffers{}
	p, err := m.prepare(b.Context(), in, 1<<30, pool)
	if err != nil {
		b.Fatal(err)
	}
	window := [3]int{96, 96, 96}
	s := &network{m: m, b: &binding{batch: 1, window: window}, heads: []head{newHead(m, 0, 3)}, pool: pool}
	s.importance = importance(blendGaussian, window, [3]float64{.125, .125, .125})
	s.in, s.out = make([]float32, 96*96*96), [][]float32{make([]float32, 3*96*96*96)}
	s.bound = nothing{}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		once := *p // slide gives the data back
		once.data = append([]float32(nil), p.data...)
		c := task{}
		b.StartTimer()
		if err := s.slide(b.Context(), &c, &once, nobody{}); err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(c.windows) * 4 * int64(len(s.out[0])))
	}
}

// nobody takes no scores.
type nobody struct{ sink }

func (nobody) carry() int                                  { return 1 }
func (nobody) depth(n, window int) int                     { return min(n, window+1) }
func (nobody) flush(context.Context, []*scores, int) error { return nil }

func BenchmarkRestoreCT(b *testing.B) {
	m, in := ctCase(b)
	pool := &buffers{}
	p, err := m.prepare(b.Context(), in, 1<<30, pool)
	if err != nil {
		b.Fatal(err)
	}
	heads := []head{newHead(m, 0, 3)}
	w := newWindows(p.layout.Size, [3]int{96, 96, 96}, [3]float64{.25, .25, .25})
	sc := newScores(w, 3, w.array[0], true, nil, pool)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for i, v := range p.data {
			sc.sum[i], sc.sum[sc.n+i], sc.sum[2*sc.n+i], sc.weight[i] = v, 1-v, v/2, 2
		}
		b.StartTimer()
		sc.done = 0
		k, err := newSink(m, heads, p)
		if err == nil {
			err = k.flush(b.Context(), []*scores{sc}, w.array[0])
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// nothing is a network that takes no time.
type nothing struct{}

func (nothing) Run(context.Context) error { return nil }

// BenchmarkInferCT runs the whole case with the network that VOXLOOP_CT_MODEL
// names (shared reference-bench/make_models.py writes it).
func BenchmarkInferCT(b *testing.B) {
	path := os.Getenv("VOXLOOP_CT_MODEL")
	if path == "" {
		b.Skip("VOXLOOP_CT_MODEL names no network")
	}
	_, in := ctCase(b)
	r := serve(b, os.Getenv("VOXLOOP_DEVICE"), ctManifest, path)
	total := map[string]float64{}
	n := 0
	for b.Loop() {
		out, err := r.Infer(b.Context(), "m", in, Options{})
		if err != nil {
			b.Fatal(err)
		}
		for _, s := range out.Stages {
			total[s.Name] += s.Duration.Seconds()
		}
		n++
	}
	for name, s := range total {
		b.ReportMetric(1000*s/float64(n), name+"-ms")
	}
}

func BenchmarkLargestComponent(b *testing.B) {
	l := imaging.NewLabelMap(imaging.Grid{Size: [3]int{256, 256, 128}, Affine: imaging.Identity()})
	for i := range l.Data {
		x, y, z := i%256, i/256%256, i/65536
		if (x/9+y/7+z/5)%3 == 0 {
			l.Data[i] = 1
		}
	}
	work := make([]uint16, len(l.Data))
	b.SetBytes(int64(2 * len(work)))
	for b.Loop() {
		copy(work, l.Data)
		if err := (transform.Keep{Connectivity: 26}).Largest(work, [3]int{128, 256, 256}); err != nil {
			b.Fatal(err)
		}
	}
}
