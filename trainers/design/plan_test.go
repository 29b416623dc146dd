package design

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
)

// set makes a fingerprint of equal cases.
func set(size [3]int, spacing [3]float64, n int) *Fingerprint {
	f := &Fingerprint{Channels: 1, Kept: 1, OneSpacing: true, Classes: []Class{{Name: "a", Value: 1}}}
	for i := range n {
		f.Cases = append(f.Cases, CaseFingerprint{ID: fmt.Sprint(i), Size: size, Cropped: size, Spacing: spacing})
	}
	for k := range 3 {
		f.Size[k], f.Spacing[k] = float64(size[k]), spacing[k]
	}
	f.Foreground, f.Whole = []Intensity{{}}, []Intensity{{}}
	return f
}

// vary gives case i another spacing along an axis.
func vary(f *Fingerprint, axis int, spacing ...float64) *Fingerprint {
	var all []float64
	for i := range f.Cases {
		f.Cases[i].Spacing[axis] = spacing[i%len(spacing)]
		all = append(all, f.Cases[i].Spacing[axis])
	}
	f.Spacing[axis], f.OneSpacing = quantile(all, 0.5), false
	return f
}

func stridesText(n Network) string {
	var words []string
	for _, s := range n.Stages {
		words = append(words, sizeText(s.Stride))
	}
	return strings.Join(words, " ")
}

func kernelsText(n Network) string {
	var words []string
	for _, s := range n.Stages {
		words = append(words, sizeText(s.Kernel))
	}
	return strings.Join(words, " ")
}

// The rules, on sets like well-known ones. Times are of two cores.
func TestPlans(t *testing.T) {
	rich := Options{Memory: 1 << 40, Minutes: 1e6, Cores: 64}
	tests := []struct {
		name             string
		f                *Fingerprint
		o                Options
		patch            string
		spacing          [3]float64
		strides, kernels string
		features         string
	}{
		{
			"hippocampus, half an hour", set([3]int{35, 50, 35}, [3]float64{1, 1, 1}, 10),
			Options{Cores: 2},
			"40×56×40",
			[3]float64{},
			"1×1×1 2×2×2 2×2×2 2×2×2", "3×3×3 3×3×3 3×3×3 3×3×3", "8 32 64 128",
		},
		{
			"hippocampus, five minutes", set([3]int{35, 50, 35}, [3]float64{1, 1, 1}, 10),
			Options{Cores: 2, Minutes: 5},
			"40×56×40",
			[3]float64{},
			"1×1×1 2×2×2 2×2×2 2×2×2", "3×3×3 3×3×3 3×3×3 3×3×3", "8 16 32 64",
		},
		{
			"hippocampus, any time", set([3]int{35, 50, 35}, [3]float64{1, 1, 1}, 10), rich,
			"40×56×40",
			[3]float64{},
			"1×1×1 2×2×2 2×2×2 2×2×2", "3×3×3 3×3×3 3×3×3 3×3×3", "32 64 128 256",
		},
		{ // as nnU-Net's 3-D plan of the prostate set: kernels and strides of 1 across slices first
			"prostate, any time", vary(set([3]int{320, 320, 20}, [3]float64{0.62, 0.62, 3.6}, 10), 2, 3, 3.6, 4), rich,
			"320×320×24",
			[3]float64{0.62, 0.62, 3},
			"1×1×1 2×2×1 2×2×1 2×2×2 2×2×2 2×2×1 2×2×1", "3×3×1 3×3×1 3×3×3 3×3×3 3×3×3 3×3×3 3×3×3", "32 64 128 256 320 320 320",
		},
		{
			"abdominal CT, half an hour", vary(set([3]int{512, 512, 120}, [3]float64{0.8, 0.8, 2.5}, 10), 2, 2, 2.5, 3),
			Options{Cores: 2},
			"64×64×32",
			[3]float64{0.8, 0.8, 2},
			"1×1×1 2×2×1 2×2×2 2×2×2 2×2×2", "", "8 16 32 64 128",
		},
		{
			"slices", set([3]int{200, 240, 1}, [3]float64{1.4, 1.4, 10}, 10),
			Options{Cores: 2},
			"224×256",
			[3]float64{},
			"1×1 2×2 2×2 2×2 2×2 2×2", "3×3 3×3 3×3 3×3 3×3 3×3", "",
		},
		{
			"very thick slices", vary(set([3]int{200, 240, 12}, [3]float64{0.6, 0.6, 8}, 10), 2, 7, 8, 9),
			Options{Cores: 2},
			"",
			[3]float64{0.6, 0.6, 0},
			"", "", "",
		},
		{
			"features", set([3]int{35, 50, 35}, [3]float64{1, 1, 1}, 10),
			Options{Cores: 2, Features: 20},
			"40×56×40",
			[3]float64{},
			"1×1×1 2×2×2 2×2×2 2×2×2", "", "8 20 40 80",
		},
		{
			"patch and spacing", set([3]int{35, 50, 35}, [3]float64{1, 1, 1}, 10),
			Options{Cores: 2, Patch: []int{32, 32, 16}, Spacing: [3]float64{1, 1, 2}},
			"32×32×16",
			[3]float64{1, 1, 2},
			"1×1×1 2×2×1 2×2×2 2×2×2", "3×3×1 3×3×3 3×3×3 3×3×3", "",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := NewPlan(tt.f, tt.o)
			if err != nil {
				t.Fatal(err)
			}
			var features []string
			for _, s := range p.Network.Stages {
				features = append(features, fmt.Sprint(s.Features))
			}
			for _, c := range [][2]string{
				{sizeText(p.Patch), tt.patch},
				{stridesText(p.Network), tt.strides},
				{kernelsText(p.Network), tt.kernels},
				{strings.Join(features, " "), tt.features},
			} {
				if c[1] != "" && c[0] != c[1] {
					t.Errorf("%s, want %s", c[0], c[1])
				}
			}
			if p.Spacing != tt.spacing {
				t.Errorf("spacing %v, want %v", p.Spacing, tt.spacing)
			}
			if p.Batch < 2 || p.Cost.Step > p.Budget.Step || p.Cost.Memory > p.Budget.Memory {
				t.Errorf("batch %d, %v of %v, %d of %d bytes", p.Batch, p.Cost.Step, p.Budget.Step, p.Cost.Memory, p.Budget.Memory)
			}
			if err := p.Network.validate(); err != nil {
				t.Error(err)
			}
			for k, m := range p.Network.Multiple() {
				if p.Patch[k]%m != 0 {
					t.Errorf("patch %v is no multiple of %v", p.Patch, p.Network.Multiple())
				}
			}
			t.Log(p.Cost.Step, p.Cost.Memory>>20, "MB, batch", p.Batch, "features", features, "patch", p.Patch, p.Notes)
		})
	}
}

// A patch that sees little of the images is said, with voxels that would help.
func TestCoverIsSaid(t *testing.T) {
	f := set([3]int{512, 512, 120}, [3]float64{0.8, 0.8, 2.5}, 10)
	p, err := NewPlan(f, Options{Cores: 2})
	if err != nil {
		t.Fatal(err)
	}
	var spacing [3]float64
	for _, n := range p.Notes {
		if _, words, ok := strings.Cut(n, "--spacing "); ok {
			if _, err := fmt.Sscanf(words, "%g,%g,%g", &spacing[0], &spacing[1], &spacing[2]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if spacing[0] < 1 {
		t.Fatalf("no spacing is proposed: %v", p.Notes)
	}
	if p, err = NewPlan(f, Options{Cores: 2, Spacing: spacing}); err != nil {
		t.Fatal(err)
	}
	for _, n := range p.Notes {
		if strings.Contains(n, "--spacing") {
			t.Errorf("the proposed spacing is not enough: %s", n)
		}
	}
}

// Residual networks and heads are what was asked for.
func TestWishes(t *testing.T) {
	f := set([3]int{64, 64, 64}, [3]float64{1, 1, 1}, 4)
	p, err := NewPlan(f, Options{Type: Residual, DeepSupervision: true, Dropout: 0.2, Cores: 2})
	if err != nil {
		t.Fatal(err)
	}
	n := p.Network
	if n.Type != Residual || n.Heads != len(n.Stages)-2 || n.Dropout != 0.2 || n.Classes != 2 {
		t.Errorf("%+v", n)
	}
	more, err := NewPlan(f, Options{Cores: 8})
	if err != nil {
		t.Fatal(err)
	}
	if more.Cost.Parameters < p.Cost.Parameters && more.Cost.Work < p.Cost.Work {
		t.Errorf("more cores make a smaller network: %+v after %+v", more.Cost, p.Cost)
	}
}

// What cannot be planned is said with the smallest that could.
func TestPlanRefuses(t *testing.T) {
	f := set([3]int{64, 64, 64}, [3]float64{1, 1, 1}, 4)
	tests := []struct {
		name string
		f    *Fingerprint
		o    Options
		want string
	}{
		{"memory", f, Options{Memory: 50 << 20}, "memory budget of 50 MB is too small: the smallest network (8 features, patch 32×32×32, batch 2) takes about"},
		{"time", f, Options{Minutes: 0.01}, "time budget of 0.01 minutes is too small: the smallest network"},
		{"patch for the memory", f, Options{Memory: 300 << 20, Patch: cube(256)}, "patch 256×256×256"},
		{"no multiple", f, Options{Patch: []int{41, 56, 40}}, "such as 48×56×40"},
		{"small patch", f, Options{Patch: cube(6)}, "too small for a U-Net"},
		{"axes", f, Options{Patch: []int{32, 32}}, "has 2 sizes"},
		{"tiny images", set([3]int{8, 5, 5}, [3]float64{1, 2.5, 2.5}, 1), Options{}, "too small for a U-Net"},
		{"type", f, Options{Type: "dense"}, "dense"},
		{"features", f, Options{Features: 1000}, "1000 features"},
		{"dropout", f, Options{Dropout: 1}, "dropout 1"},
		{"spacing", f, Options{Spacing: [3]float64{-1, 1, 1}}, "spacing"},
		{"minutes", f, Options{Minutes: -1}, "minutes"},
	}
	for _, tt := range tests {
		_, err := NewPlan(tt.f, tt.o)
		if err == nil || !strings.Contains(err.Error(), tt.want) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// The time that a refusal names is enough, and hardly more than enough.
func TestSmallestTime(t *testing.T) {
	f := set([3]int{64, 64, 64}, [3]float64{1, 1, 1}, 4)
	_, err := NewPlan(f, Options{Minutes: 0.01})
	if err == nil {
		t.Fatal("the budget is accepted")
	}
	var minutes float64
	words := strings.Fields(err.Error())
	if _, err := fmt.Sscan(words[slices.Index(words, "from")+1], &minutes); err != nil {
		t.Fatal(err)
	}
	if _, err := NewPlan(f, Options{Minutes: minutes}); err != nil {
		t.Errorf("%g minutes are not enough: %v", minutes, err)
	}
	if _, err := NewPlan(f, Options{Minutes: minutes - 0.2}); err == nil {
		t.Errorf("less than %g minutes are enough, too", minutes)
	}
}
