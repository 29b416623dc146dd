package apps

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/ort/orttest"
	"github.com/voxloop/voxloop/internal/testkit"
	"github.com/voxloop/voxloop/trainers"
)

// hippocampusData opens the shipped model.
func hippocampusData(t testing.TB, o TrainingDataOptions) trainers.Data {
	t.Helper()
	return dataOf(t, filepath.Join("radiology", "models", "hippocampus"), o)
}

func dataOf(t testing.TB, model string, o TrainingDataOptions) trainers.Data {
	t.Helper()
	if o.Runtime == nil {
		rt := orttest.Runtime(t)
		o.Runtime = func(context.Context) (*ort.Runtime, error) { return rt, nil }
	}
	d, err := OpenTrainingData(t.Context(), os.DirFS(model), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// sharedCase is a case of the shared hippocampus data.
func sharedCase(t testing.TB, id string) trainers.Case {
	t.Helper()
	dir := testkit.Shared(t, "data", "hippocampus")
	return trainers.Case{
		ID: id, Images: []string{filepath.Join(dir, "images", id+".nii.gz")}, Label: filepath.Join(dir, "labels", id+".nii.gz"), Role: trainers.Validate,
	}
}

// Judging the starting network gives the Dice that its makers recorded.
func TestScoreIsTheRecordedDice(t *testing.T) {
	rows, err := csv.NewReader(bytes.NewReader(read(t, testkit.Shared(t, "models", "hippocampus", "dice_195.csv")))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var cases []trainers.Case
	want := map[string][2]float64{}
	for i := 1; i < len(rows); i += 40 {
		id := rows[i][0]
		a, _ := strconv.ParseFloat(rows[i][1], 64)
		b, _ := strconv.ParseFloat(rows[i][2], 64)
		want[id] = [2]float64{a, b}
		cases = append(cases, sharedCase(t, id))
	}
	d := dataOf(t, filepath.Join(testkit.ReferenceApp(t), "models", "hippocampus"), TrainingDataOptions{})
	var ids []string
	err = d.Score(t.Context(), d.Spec().Network, cases, func(s trainers.Score) {
		ids = append(ids, s.ID)
		for k, class := range []string{"anterior", "posterior"} {
			if v, ok := s.Dice[class]; !ok || math.Abs(v-want[s.ID][k]) > 0.01 {
				t.Errorf("%s, %s: Dice %.4f, recorded %.4f", s.ID, class, v, want[s.ID][k])
			}
		}
	})
	if err != nil || len(ids) != len(cases) {
		t.Fatalf("%v; %d of %d cases", err, len(ids), len(cases))
	}
	for i, c := range cases {
		if ids[i] != c.ID {
			t.Errorf("case %d is %s, want %s", i, ids[i], c.ID)
		}
	}
}

func TestSpecOfTheShippedModel(t *testing.T) {
	s := hippocampusData(t, TrainingDataOptions{Runtime: func(context.Context) (*ort.Runtime, error) { return nil, nil }}).Spec()
	want := fmt.Sprint([]trainers.Class{{Index: 1, Name: "anterior", Value: 1}, {Index: 2, Name: "posterior", Value: 2}})
	if fmt.Sprint(s.Classes) != want || s.Outputs != 3 || s.Channels != 1 || s.Dimension != 3 || s.Window != [3]int{40, 56, 40} || len(s.Version) != 32 || s.Network == nil {
		t.Errorf("%+v", s)
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// madeGrid is that of the made-up images.
var madeGrid = imaging.Grid{Size: [3]int{9, 10, 11}, Affine: imaging.Identity()}

func writeVolume(t testing.TB, path string, v *imaging.Volume) {
	t.Helper()
	var b bytes.Buffer
	if err := codec.Write(&b, codec.Ext(path), v, codec.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, b.Bytes())
}

func writeImage(t testing.TB, path string, change func(v []float32)) {
	t.Helper()
	v := imaging.NewVolume(madeGrid, 1, imaging.Float32)
	d := v.Data.(imaging.Samples[float32])
	for i := range d {
		d[i] = float32(i % 97)
	}
	if change != nil {
		change(d)
	}
	writeVolume(t, path, v)
}

func writeLabel(t testing.TB, path string, g imaging.Grid, at map[int]uint16) {
	t.Helper()
	l := imaging.NewLabelMap(g)
	for i, v := range at {
		l.Data[i] = v
	}
	v, err := l.Volume(imaging.Uint16)
	if err != nil {
		t.Fatal(err)
	}
	writeVolume(t, path, v)
}

// What is wrong with a case is said, with its name and how much of it.
func TestBadTrainingCases(t *testing.T) {
	dir := t.TempDir()
	image, label := filepath.Join(dir, "c7.nii.gz"), filepath.Join(dir, "label.nii.gz")
	writeImage(t, image, nil)
	writeLabel(t, label, madeGrid, map[int]uint16{5: 1, 6: 2})
	moved := madeGrid
	moved.Affine[1][3] = 4
	turned := imaging.Grid{Size: [3]int{10, 9, 11}, Affine: imaging.Affine{{0, -1, 0, 8}, {1, 0, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}}}
	file := func(name string) string { return filepath.Join(dir, name+".nii.gz") }
	writeImage(t, file("nan"), func(v []float32) {
		v[1], v[30], v[31] = float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))
	})
	writeLabel(t, file("values"), madeGrid, map[int]uint16{5: 1, 6: 7, 8: 7, 9: 300})
	writeLabel(t, file("moved"), moved, map[int]uint16{5: 1})
	writeLabel(t, file("turned"), turned, map[int]uint16{5: 1})
	writeFile(t, file("broken"), []byte("not an image"))
	d := hippocampusData(t, TrainingDataOptions{})
	for name, tt := range map[string]struct {
		c    trainers.Case
		want []string // parts of the message; none: it is fine
	}{
		"fine":          {trainers.Case{Images: []string{image}, Label: label}, nil},
		"turned":        {trainers.Case{Images: []string{image}, Label: file("turned")}, nil},
		"not finite":    {trainers.Case{Images: []string{file("nan")}, Label: label}, []string{"3 voxels", "channel image", "not finite"}},
		"values":        {trainers.Case{Images: []string{image}, Label: file("values")}, []string{"7 (2 voxels), 300 (1 voxels)", "1 (anterior), 2 (posterior)"}},
		"off the grid":  {trainers.Case{Images: []string{image}, Label: file("moved")}, []string{"grid"}},
		"broken image":  {trainers.Case{Images: []string{file("broken")}, Label: label}, []string{"an image"}},
		"broken label":  {trainers.Case{Images: []string{image}, Label: file("broken")}, []string{"the label"}},
		"no label":      {trainers.Case{Images: []string{image}}, []string{"no label"}},
		"gone":          {trainers.Case{Images: []string{file("gone")}, Label: label}, []string{"an image"}},
		"two channels":  {trainers.Case{Images: []string{image, image}, Label: label}, []string{"2 channels"}},
		"label is MRI":  {trainers.Case{Images: []string{image}, Label: file("nan")}, []string{"label value"}},
		"without image": {trainers.Case{Label: label}, []string{"0 channels"}},
	} {
		tt.c.ID = "c7"
		s, err := d.Load(t.Context(), tt.c)
		if tt.want == nil {
			if err != nil || s.Labels == nil || s.ID != "c7" {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		msg, ok := fault.Message(err)
		if k := fault.KindOf(err); !ok || k != fault.Invalid && k != fault.NotFound {
			t.Errorf("%s: %v", name, err)
		}
		for _, part := range append(tt.want, "case c7: ") {
			if !strings.Contains(msg, part) || strings.Contains(msg, dir) {
				t.Errorf("%s: message %q, want %q in it", name, msg, part)
			}
		}
	}
}

// Unlabelled voxels keep their number as class, and no class is judged there.
func TestIgnoredValue(t *testing.T) {
	c := sharedCase(t, "hippocampus_001")
	truth, err := codec.Read(t.Context(), c.Label, codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := imaging.LabelMapOf(truth)
	if err != nil {
		t.Fatal(err)
	}
	half := len(l.Data) / 2
	for i := range half {
		l.Data[i] = 255
	}
	v, _ := l.Volume(imaging.Uint8)
	c.Label = filepath.Join(t.TempDir(), "partly.nii.gz")
	writeVolume(t, c.Label, v)
	if _, err := hippocampusData(t, TrainingDataOptions{}).Load(t.Context(), c); fault.KindOf(err) != fault.Invalid {
		t.Errorf("without the option: %v", err)
	}
	d := hippocampusData(t, TrainingDataOptions{IgnoreValue: 255})
	s, err := d.Load(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, v := range s.Labels {
		if v == 255 {
			n++
		}
	}
	if n != half {
		t.Errorf("%d voxels are ignored, want %d", n, half)
	}
	err = d.Score(t.Context(), d.Spec().Network, []trainers.Case{c}, func(s trainers.Score) {
		for class, v := range s.Dice {
			if v < 0.75 { // the unlabelled half would halve it
				t.Errorf("%s: Dice %.3f of the labelled half", class, v)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []int{1, -3, 70000} {
		if _, err := OpenTrainingData(t.Context(), os.DirFS("radiology/models/hippocampus"), TrainingDataOptions{IgnoreValue: bad}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("value %d: %v", bad, err)
		}
	}
}

func TestScoreStops(t *testing.T) {
	d := hippocampusData(t, TrainingDataOptions{})
	var cases []trainers.Case
	for range 50 {
		cases = append(cases, sharedCase(t, "hippocampus_001"))
	}
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	err := d.Score(ctx, d.Spec().Network, cases, func(trainers.Score) {
		if n++; n == 2 {
			cancel()
		}
	})
	if fault.KindOf(err) != fault.Canceled || n > 3 {
		t.Errorf("after %d cases: %v", n, err)
	}
	cases[1].Label = ""
	if err := d.Score(t.Context(), d.Spec().Network, cases, func(trainers.Score) {}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "hippocampus_001") {
		t.Errorf("a case without a label: %v", err)
	}
}
