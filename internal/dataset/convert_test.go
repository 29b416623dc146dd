package dataset

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
)

// fetchFrom makes a studies folder of an archive.
func fetchFrom(t *testing.T, set Set, archive []byte, o Options) (*Record, string, error) {
	t.Helper()
	o.Out, o.From = filepath.Join(t.TempDir(), "out"), file(t, "a.bin", archive)
	r, _, err := Fetch(t.Context(), set, o)
	return r, o.Out, err
}

const twoClasses = `{"labels": {"background": 0, "a": 1, "b": 2}, "channel_names": {"0": "T1"}}`

// Cases with a mistake are left out and named; the others are there, and what
// is there verifies.
func TestBadCases(t *testing.T) {
	moved := imaging.Grid{Size: cube, Affine: imaging.Identity()}
	moved.Affine[0][3] = 0.5
	flipped := imaging.Grid{Size: cube, Affine: imaging.Identity()}
	flipped.Affine[0] = [4]float64{-1, 0, 0, 3}
	label := func(g imaging.Grid) []byte { return volumeAt(t, g, 1, func(_, i int) int { return i % 3 }) }
	broken := grey(t)
	broken = broken[:len(broken)/2]
	cases := []struct {
		id           string
		image, label []byte
		reason       string // "": it can be used
	}{
		{"good", grey(t), classes(t, 2), ""},
		{"flipped", grey(t), label(flipped), ""}, // the same voxels in another order
		{"fewer", grey(t), classes(t, 0), ""},
		{"off", grey(t), label(moved), "not on the image's grid"},
		{"shape", grey(t), volume(t, [3]int{4, 5, 7}, 1, func(int, int) int { return 1 }), "4×5×7"},
		{"value", grey(t), classes(t, 4), "values that are none of the set's: [3 4]"},
		{"many", grey(t), classes(t, 40), "38 values"},
		{"broken", broken, classes(t, 2), "the image: "},
		{"text", []byte("hello"), classes(t, 2), "neither NIfTI nor NRRD"},
		{"brokenlabel", grey(t), broken, "the label map: "},
		{"channels", volume(t, cube, 2, func(int, int) int { return 1 }), classes(t, 2), "2 channels, the set's have 1"},
		{"layers", grey(t), volume(t, cube, 2, func(int, int) int { return 1 }), "one channel"},
		{"noimage", nil, classes(t, 2), "no image for this label"},
		{"nolabel", grey(t), nil, "no label for this image"},
	}
	var entries []entry
	for _, c := range cases {
		if c.image != nil {
			entries = append(entries, entry{name: "d/imagesTr/" + c.id + ".nii.gz", data: c.image})
		}
		if c.label != nil {
			entries = append(entries, entry{name: "d/labelsTr/" + c.id + ".nii.gz", data: c.label})
		}
	}
	set, err := Find("decathlon-layout")
	if err != nil {
		t.Fatal(err)
	}
	r, out, err := fetchFrom(t, set, tarOf(t, append(entries, entry{name: "d/dataset.json", data: []byte(twoClasses)})...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]string{}
	for _, l := range r.LeftOut {
		left[l.ID] = l.Reason
	}
	for _, c := range cases {
		used := slices.ContainsFunc(r.Cases, func(o Case) bool { return o.ID == c.id })
		if reason, ok := left[c.id]; ok == (c.reason == "") || used == ok || !strings.Contains(reason, c.reason) {
			t.Errorf("%s: used %v, reason %q, want %q", c.id, used, reason, c.reason)
		}
		_, err := os.Stat(filepath.Join(out, c.id+".nii.gz"))
		if (err == nil) != used {
			t.Errorf("%s: used %v, file %v", c.id, used, err)
		}
	}
	if _, problems, err := Verify(t.Context(), out, VerifyOptions{}); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	_, _, err = fetchFrom(t, set, tarOf(t, entry{name: "imagesTr/x.nii.gz", data: grey(t)}, entry{name: "dataset.json", data: []byte(twoClasses)}), Options{})
	fails(t, err, fault.Invalid, "none of the 1 cases", "x: there is no label")
}

// The channels of an image become one file each, whether they come as one file
// with four axes or as several files, in the order of the set.
func TestChannels(t *testing.T) {
	value := func(c, i int) int { return 1000*c + i }
	four := volume(t, cube, 4, value)
	one := func(c int) []byte { return volume(t, cube, 1, func(_, i int) int { return value(c, i) }) }
	find := func(name string) Set {
		s, err := Find(name)
		if err != nil {
			t.Fatal(err)
		}
		s.URL, s.MD5 = "", ""
		return s
	}
	nn := []entry{{name: "dataset.json", data: []byte(`{"labels": {"background": 0, "x": "1"}, "channel_names": {"0": "a", "1": "b", "2": "c", "3": "d"}}`)}}
	var brats21, brats23 []entry
	for c := range 4 {
		nn = append(nn, entry{name: fmt.Sprintf("imagesTr/C_%04d.nii.gz", 3-c), data: one(3 - c)})
		brats21 = append(brats21, entry{name: fmt.Sprintf("BraTS2021_00042/BraTS2021_00042_%s.nii.gz", []string{"flair", "t1", "t1ce", "t2"}[c]), data: one(c)})
		brats23 = append(brats23, entry{name: fmt.Sprintf("T/BraTS-GLI-00042-001/BraTS-GLI-00042-001-%s.nii.gz", []string{"t2f", "t1n", "t1c", "t2w"}[c]), data: one(c)})
	}
	nn = append(nn, entry{name: "labelsTr/C.nii.gz", data: classes(t, 1)})
	slices.Reverse(brats21)
	four21 := volume(t, cube, 1, func(_, i int) int { return []int{0, 1, 2, 4}[i%4] })
	tests := []struct {
		set     Set
		id      string
		archive []byte
	}{
		{find("Task01_BrainTumour"), "BRATS_001", tarOf(t, entry{name: "Task01_BrainTumour/imagesTr/BRATS_001.nii.gz", data: four},
			entry{name: "Task01_BrainTumour/labelsTr/BRATS_001.nii.gz", data: classes(t, 3)})},
		{find("nnunet-layout"), "C", zipOf(t, nn...)},
		{find("brats2021"), "BraTS2021_00042", gzipOf(t, tarOf(t, append(brats21, entry{name: "BraTS2021_00042/BraTS2021_00042_seg.nii.gz", data: four21})...))},
		{find("brats2023-gli"), "BraTS-GLI-00042-001", zipOf(t, append(brats23, entry{name: "T/BraTS-GLI-00042-001/BraTS-GLI-00042-001-seg.nii.gz", data: classes(t, 3)})...)},
	}
	for _, tt := range tests {
		t.Run(tt.set.Name, func(t *testing.T) {
			r, out, err := fetchFrom(t, tt.set, tt.archive, Options{})
			if err != nil || len(r.Cases) != 1 || len(r.Cases[0].Images) != 4 || len(r.Channels) != 4 {
				t.Fatalf("%+v, %v", r, err)
			}
			for c, name := range r.Cases[0].Images {
				if name != fmt.Sprintf("%s_%04d.nii.gz", tt.id, c) {
					t.Errorf("channel %d is %s", c, name)
				}
				for i, v := range values(t, filepath.Join(out, name)) {
					if v != value(c, i) {
						t.Fatalf("channel %d, voxel %d: %d, want %d", c, i, v, value(c, i))
					}
				}
			}
			if _, problems, err := Verify(t.Context(), out, VerifyOptions{}); err != nil || len(problems) > 0 {
				t.Error(problems, err)
			}
		})
	}
	// A channel that is missing leaves the case out.
	_, _, err := fetchFrom(t, find("brats2021"), tarOf(t, append(brats21[1:], entry{name: "BraTS2021_00042/BraTS2021_00042_seg.nii.gz", data: four21})...), Options{})
	fails(t, err, fault.Invalid, "3 channels, the set's have 4")
	moved := imaging.Grid{Size: cube, Affine: imaging.Identity()}
	moved.Affine[1][3] = 1
	off := append(brats21[1:4:4], entry{name: "BraTS2021_00042/BraTS2021_00042_t2.nii.gz", data: volumeAt(t, moved, 1, func(_, i int) int { return i })},
		entry{name: "BraTS2021_00042/BraTS2021_00042_seg.nii.gz", data: four21})
	_, _, err = fetchFrom(t, find("brats2021"), tarOf(t, off...), Options{})
	fails(t, err, fault.Invalid, "its channels are not on one grid")
	_, _, err = fetchFrom(t, find("brats2021"), tarOf(t, append(brats21[:3:3], entry{name: "BraTS2021_00042/BraTS2021_00042_seg.nii.gz", data: four21})...), Options{})
	fails(t, err, fault.Invalid, "channel 0 is missing")
}

// One mask per class becomes one label map. The order of the archive does not
// matter where masks overlap.
func TestMasks(t *testing.T) {
	set, err := Find("totalsegmentator-small")
	if err != nil {
		t.Fatal(err)
	}
	set.URL, set.MD5 = "", ""
	mask := func(from, to int) []byte {
		return volume(t, cube, 1, func(_, i int) int {
			if i >= from && i < to {
				return 1
			}
			return 0
		})
	}
	entries := []entry{
		{name: "s0001/segmentations/liver.nii.gz", data: mask(20, 50)}, // overlaps both others
		{name: "s0001/segmentations/spleen.nii.gz", data: mask(0, 30)},
		{name: "s0001/segmentations/aorta.nii.gz", data: mask(40, 60)},
		{name: "s0001/segmentations/brain.nii.gz", data: mask(0, 0)},
		{name: "s0001/ct.nii.gz", data: grey(t)},
		{name: "meta.csv", data: []byte("image_id;age\n")},
	}
	check := func(t *testing.T, archive []byte, o Options, labels map[string]int, want func(i int) int) {
		t.Helper()
		r, out, err := fetchFrom(t, set, archive, o)
		if err != nil || len(r.Cases) != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		if labels != nil && !maps.Equal(r.Labels, labels) {
			t.Errorf("labels %v", r.Labels)
		}
		for i, v := range values(t, filepath.Join(out, "labels", "final", "s0001.nii.gz")) {
			if v != want(i) {
				t.Fatalf("voxel %d: %d, want %d", i, v, want(i))
			}
		}
		if _, problems, err := Verify(t.Context(), out, VerifyOptions{}); err != nil || len(problems) > 0 {
			t.Error(problems, err)
		}
	}
	all := func(i int) int { // spleen 1, liver 5, aorta 52
		switch {
		case i < 30:
			return 1
		case i < 50:
			return 5
		case i < 60:
			return 52
		}
		return 0
	}
	check(t, zipOf(t, entries...), Options{}, nil, all)
	slices.Reverse(entries)
	check(t, zipOf(t, entries...), Options{}, nil, all)
	check(t, zipOf(t, entries...), Options{Labels: map[string]int{"aorta": 0, "liver": 0}}, map[string]int{"liver": 1, "aorta": 2}, func(i int) int {
		switch {
		case i >= 20 && i < 50:
			return 1
		case i >= 50 && i < 60:
			return 2
		}
		return 0
	})
	_, _, err = fetchFrom(t, set, zipOf(t, append(entries, entry{name: "s0001/segmentations/tail.nii.gz", data: mask(0, 1)})...), Options{})
	fails(t, err, fault.Invalid, `mask of "tail"`)
}

func TestDescriptions(t *testing.T) {
	set, err := Find("decathlon-layout")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ text, want string }{
		{`{"labels": {"background": 0, "whole": [1, 2], "core": 2}}`, "regions"},
		{`{"labels": {"0": "background"}}`, "names no labels"},
		{`{"labels": {"a": 1, "b": 1}}`, "another label has"},
		{`{"labels": {"a": 70000}}`, "within 1..65535"},
		{`{"labels": `, "dataset.json cannot be read"},
		{"", "no dataset.json that names the labels"},
	}
	for _, tt := range tests {
		entries := []entry{{name: "imagesTr/x.nii.gz", data: grey(t)}, {name: "labelsTr/x.nii.gz", data: classes(t, 1)}}
		if tt.text != "" {
			entries = append(entries, entry{name: "dataset.json", data: []byte(tt.text)})
		}
		_, _, err := fetchFrom(t, set, tarOf(t, entries...), Options{})
		fails(t, err, fault.Invalid, tt.want)
	}
	// The archive and the table contradict one another.
	archive := tarOf(t, entry{name: "imagesTr/x.nii.gz", data: grey(t)}, entry{name: "labelsTr/x.nii.gz", data: classes(t, 1)},
		entry{name: "dataset.json", data: []byte(`{"labels": {"0": "background", "1": "a", "3": "c"}}`)})
	_, _, err = fetchFrom(t, phantomSet(archive), archive, Options{})
	fails(t, err, fault.Invalid, "c=3, which Phantoms is not known to have")
}
