package design

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/voxloop/voxloop/internal/fault"
)

// Fingerprint is what a set of labelled images says about the network that fits
// it: the numbers that nnU-Net's rules start from (Isensee et al., Nature
// Methods 18, 2021, supplement). Axes are x, y, z after orientation to RAS.
type Fingerprint struct {
	Cases    []CaseFingerprint `json:"cases"`
	Skipped  []Skipped         `json:"skipped,omitempty"`
	Channels int               `json:"channels"`
	CT       bool              `json:"ct"`

	Size        [3]float64     `json:"median_size"`    // voxels, cropped to nonzero
	Spacing     [3]float64     `json:"median_spacing"` // mm
	OneSpacing  bool           `json:"one_spacing"`    // all cases share it, within 0.1 %
	Orientation map[string]int `json:"orientations"`   // as stored → number of cases
	Kept        float64        `json:"median_kept"`    // share of the voxels that the crop keeps

	Foreground []Intensity `json:"foreground"` // per channel, voxels of any class
	Whole      []Intensity `json:"whole"`      // per channel, all voxels
	Classes    []Class     `json:"classes"`
}

// CaseFingerprint is one case.
type CaseFingerprint struct {
	ID          string     `json:"id"`
	Size        [3]int     `json:"size"`    // voxels
	Cropped     [3]int     `json:"cropped"` // voxels of the box around what is not 0 in any channel
	Spacing     [3]float64 `json:"spacing"` // mm
	Orientation string     `json:"orientation"`

	Counts map[int]int `json:"voxels"` // per label value, 0 left out

	channels          int
	foreground, whole []samples // per channel
}

// Skipped is a case that was left out, with the reason.
type Skipped struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

// Class is one structure to be found.
type Class struct {
	Name   string  `json:"name"`
	Value  int     `json:"value"`         // in label files
	Cases  int     `json:"cases"`         // that have it
	Voxels float64 `json:"median_voxels"` // among those
	Volume float64 `json:"median_ml"`
}

// ScanOptions say how a set is looked at. The zero value is ready for use.
type ScanOptions struct {
	// Labels maps the names of classes to their values in label files. nil takes
	// the values that are found, under the names label_1, label_2, ….
	Labels   map[string]int
	Modality string // CT, or anything else; "": decided by the values
	Memory   int64  // bytes of image data that are worked on at a time; 0: 1 GiB
	// Progress, if set, is called after every case, from one goroutine at a time.
	Progress func(done, all int)
}

const defaultScanMemory = 1 << 30

// Scan reads every case and draws the fingerprint. Cases that cannot be read,
// are not finite, or whose label is off the image's grid are left out and
// listed. Errors are of kind fault.Invalid: no case is left, cases with
// different numbers of channels, label values that Labels does not name, no
// class at all; or fault.Canceled.
func Scan(ctx context.Context, cases []Case, o ScanOptions) (*Fingerprint, error) {
	if len(cases) == 0 {
		return nil, fault.New(fault.Invalid, "there are no labelled images")
	}
	if err := checkLabels(o.Labels); err != nil {
		return nil, err
	}
	found, err := scanAll(ctx, cases, o)
	if err != nil {
		return nil, err
	}
	f := &Fingerprint{Orientation: map[string]int{}}
	for i, r := range found {
		if r.err != nil {
			f.Skipped = append(f.Skipped, Skipped{cases[i].ID, reason(r.err)})
			continue
		}
		f.Cases = append(f.Cases, r.CaseFingerprint)
	}
	if len(f.Cases) == 0 {
		return nil, fault.New(fault.Invalid, "none of the %d labelled images can be used; the first, %s: %s", len(cases), f.Skipped[0].ID, f.Skipped[0].Reason)
	}
	return f, f.summarise(o)
}

func reason(err error) string {
	if msg, ok := fault.Message(err); ok {
		return msg
	}
	return "it cannot be read"
}

func checkLabels(labels map[string]int) error {
	seen := map[int]string{}
	for _, name := range sortedKeys(labels) {
		v := labels[name]
		if name == "" || v < 1 || v > 65535 {
			return fault.New(fault.Invalid, "label %q has value %d; a name and a value within 1..65535 are needed", name, v)
		}
		if other, ok := seen[v]; ok {
			return fault.New(fault.Invalid, "labels %q and %q both have value %d", other, name, v)
		}
		seen[v] = name
	}
	return nil
}

// scanned is the outcome of one case.
type scanned struct {
	CaseFingerprint
	err error
}

// scanAll reads the cases on all cores, as many at a time as Memory allows.
func scanAll(ctx context.Context, cases []Case, o ScanOptions) ([]scanned, error) {
	memory := o.Memory
	if memory <= 0 {
		memory = defaultScanMemory
	}
	room := semaphore.NewWeighted(memory)
	out := make([]scanned, len(cases))
	turn := make(chan int, 1)
	turn <- 0
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, c := range cases {
		g.Go(func() error {
			need := min(caseBytes(ctx, c), memory)
			if err := room.Acquire(ctx, need); err != nil {
				return fault.Wrap(fault.Canceled, err, "the fingerprint was stopped")
			}
			defer room.Release(need)
			out[i].CaseFingerprint, out[i].err = scanCase(ctx, c)
			if err := ctx.Err(); err != nil {
				return fault.Wrap(fault.Canceled, err, "the fingerprint was stopped")
			}
			done := <-turn + 1
			if o.Progress != nil {
				o.Progress(done, len(cases))
			}
			turn <- done
			return nil
		})
	}
	return out, g.Wait()
}

// summarise fills in what follows from the cases.
func (f *Fingerprint) summarise(o ScanOptions) error {
	f.Channels = f.Cases[0].channels
	var kept []float64
	for _, c := range f.Cases {
		if c.channels != f.Channels {
			return fault.New(fault.Invalid, "case %s has %d channels, case %s has %d: all must have the same", f.Cases[0].ID, f.Channels, c.ID, c.channels)
		}
		f.Orientation[c.Orientation]++
		kept = append(kept, float64(voxels(c.Cropped))/float64(voxels(c.Size)))
	}
	f.Kept = quantile(kept, 0.5)
	for k := range 3 {
		size, spacing := f.along(k)
		f.Size[k], f.Spacing[k] = quantile(size, 0.5), quantile(spacing, 0.5)
	}
	f.OneSpacing = f.oneSpacing()
	for c := range f.Channels {
		f.Foreground = append(f.Foreground, pooled(f.Cases, func(k *CaseFingerprint) samples { return k.foreground[c] }))
		f.Whole = append(f.Whole, pooled(f.Cases, func(k *CaseFingerprint) samples { return k.whole[c] }))
	}
	f.CT = strings.EqualFold(o.Modality, "CT") || (o.Modality == "" && f.looksLikeCT())
	return f.classes(o.Labels)
}

// along returns sizes and spacings of all cases along an axis.
func (f *Fingerprint) along(k int) (size, spacing []float64) {
	for _, c := range f.Cases {
		size, spacing = append(size, float64(c.Cropped[k])), append(spacing, c.Spacing[k])
	}
	return size, spacing
}

func (f *Fingerprint) oneSpacing() bool {
	const tolerance = 1e-3
	return !slices.ContainsFunc(f.Cases, func(c CaseFingerprint) bool {
		for k, s := range c.Spacing {
			if d := s/f.Spacing[k] - 1; d > tolerance || d < -tolerance {
				return true
			}
		}
		return false
	})
}

// looksLikeCT tells Hounsfield units from other scales by their range: air is
// near -1000, nothing in a body beyond a few thousand.
func (f *Fingerprint) looksLikeCT() bool {
	return f.Channels == 1 && !slices.ContainsFunc(f.Cases, func(c CaseFingerprint) bool {
		w := c.whole[0]
		return w.min > -500 || w.min < -32768 || w.max < 100 || w.max > 32767
	})
}

// classes counts the structures and checks their values.
func (f *Fingerprint) classes(labels map[string]int) error {
	found := map[int]string{} // value → the first case with it
	for _, c := range f.Cases {
		for v := range c.Counts {
			if _, ok := found[v]; !ok {
				found[v] = c.ID
			}
		}
	}
	if labels == nil {
		labels = map[string]int{}
		for v := range found {
			labels[fmt.Sprintf("label_%d", v)] = v
		}
	}
	known := map[int]bool{}
	for _, name := range sortedKeys(labels) {
		known[labels[name]] = true
		f.Classes = append(f.Classes, f.class(name, labels[name]))
	}
	slices.SortFunc(f.Classes, func(a, b Class) int { return a.Value - b.Value })
	for _, v := range sortedKeys(found) {
		if !known[v] {
			return fault.New(fault.Invalid, "label value %d (case %s) has no name: add it to the labels, or correct that case", v, found[v])
		}
	}
	if len(found) == 0 {
		return fault.New(fault.Invalid, "all %d label maps are empty: there is no class to learn", len(f.Cases))
	}
	return nil
}

func (f *Fingerprint) class(name string, value int) Class {
	var counts, volumes []float64
	for _, c := range f.Cases {
		if n := float64(c.Counts[value]); n > 0 {
			counts, volumes = append(counts, n), append(volumes, n*c.Spacing[0]*c.Spacing[1]*c.Spacing[2]/1000)
		}
	}
	k := Class{Name: name, Value: value, Cases: len(counts)}
	if len(counts) > 0 {
		k.Voxels, k.Volume = quantile(counts, 0.5), quantile(volumes, 0.5)
	}
	return k
}

func voxels(s [3]int) int { return s[0] * s[1] * s[2] }
