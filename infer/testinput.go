package infer

import (
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
)

// testInput is a window [batch, channels, window] of the kind that the
// network sees: smooth shapes with noise, in the range that the channel's
// normalisation leaves. It is the same on every call. A constant or mostly
// padded window would not do: there the runtime's own kernels lose precision.
func testInput(m *Manifest, batch int, window [3]int) []float32 {
	rng := rand.New(rand.NewPCG(1, uint64(len(m.Inputs)))) //nolint:gosec // reproducible noise, no secret
	n := window[0] * window[1] * window[2]
	out := make([]float32, 0, batch*len(m.Inputs)*n)
	for range batch {
		for c := range m.Inputs {
			mid, half := m.Inputs[c].span()
			var phase, freq [3]float64
			for d := range 3 {
				phase[d], freq[d] = 2*math.Pi*rng.Float64(), (1+2*rng.Float64())*2*math.Pi/float64(window[d])
			}
			for i := range window[0] {
				for j := range window[1] {
					ij := math.Sin(float64(i)*freq[0]+phase[0]) + math.Sin(float64(j)*freq[1]+phase[1])
					for k := range window[2] {
						wave := (ij + math.Sin(float64(k)*freq[2]+phase[2])) / 3
						out = append(out, float32(mid+half*(0.7*wave+0.3*(2*rng.Float64()-1))))
					}
				}
			}
		}
	}
	return out
}

// span is the middle and half the width of the values that a channel holds
// after its last step; ±2 deviations where nothing bounds them.
func (in *InputSpec) span() (mid, half float64) {
	lo, hi := -2.0, 2.0
	switch {
	case in.Source.Kind == SourceConstant:
		return *in.Value, 0
	case in.Source.Kind != SourceImage && len(in.Normalize) == 0:
		lo, hi = 0, 1
	}
	for _, s := range in.Normalize {
		switch {
		case s.Linear != nil:
			lo, hi = s.Linear.To[0], s.Linear.To[1]
		case s.Clip != nil:
			lo, hi = s.Clip[0], s.Clip[1]
		case s.MinMax != nil:
			lo, hi = s.MinMax.To[0], s.MinMax.To[1]
		case s.Percentile != nil:
			lo, hi = s.Percentile.To[0], s.Percentile.To[1]
		case s.ZScore != nil:
			lo, hi = -2, 2
		}
	}
	return (lo + hi) / 2, (hi - lo) / 2
}

// processor names the CPU, since kernels are chosen by its features.
var processor = sync.OnceValue(func() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		var name, flags string
		for line := range strings.Lines(string(data)) {
			key, value, _ := strings.Cut(line, ":")
			switch strings.TrimSpace(key) {
			case "model name":
				name = strings.TrimSpace(value)
			case "flags", "Features":
				flags = strings.TrimSpace(value)
			}
			if name != "" && flags != "" {
				break
			}
		}
		if flags != "" {
			return name + " " + flags
		}
	}
	return runtime.GOOS + "/" + runtime.GOARCH
})
