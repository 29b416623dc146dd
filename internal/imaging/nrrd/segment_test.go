package nrrd

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
	"github.com/voxloop/voxloop/internal/testkit"
)

func readFileMeta(t *testing.T, name string) (*imaging.Volume, Meta) {
	t.Helper()
	s, err := raw.Open(testkit.Shared(t, "data", "nrrd_slicerio", name))
	if err != nil {
		t.Fatal(err)
	}
	v, m, err := ReadWithMeta(t.Context(), s, raw.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return v, m
}

// What 3D Slicer wrote comes out again line by line.
func TestSlicersSegmentsAreWrittenBackEqual(t *testing.T) {
	for name, want := range map[string]int{"Segmentation.seg.nrrd": 7, "SegmentationOverlapping.seg.nrrd": 8} {
		v, m := readFileMeta(t, name)
		segments, err := m.Segments()
		if err != nil || len(segments) != want {
			t.Fatalf("%s: %d segments, %v", name, len(segments), err)
		}
		if got := m.WithSegments(v.Grid, segments); !slices.Equal(got, m.Pairs) {
			t.Errorf("%s:\n got %q\nwant %q", name, got, m.Pairs)
		}
		if len(m.OtherPairs()) != 0 {
			t.Errorf("%s: other pairs %q", name, m.OtherPairs())
		}
		var b bytes.Buffer
		if err := Write(&b, v, WriteOptions{Compress: true, Pairs: m.Pairs, Axes: m.Axes}); err != nil {
			t.Fatal(err)
		}
		again, back, err := ReadWithMeta(t.Context(), raw.NewSource(&b, -1), raw.Limits{})
		if err != nil || again.Grid != v.Grid || !reflect.DeepEqual(again.Data, v.Data) || !reflect.DeepEqual(back, m) {
			t.Errorf("%s: %v; %+v", name, err, back)
		}
	}
}

func TestSegmentsOfSlicer(t *testing.T) {
	_, m := readFileMeta(t, "SegmentationOverlapping.seg.nrrd")
	segments, err := m.Segments()
	if err != nil {
		t.Fatal(err)
	}
	lung := segments[4]
	if lung.ID != "Segment_5" || lung.Name != "right lung" || lung.Value != 5 || lung.Layer != 0 || lung.ColorAuto || !lung.NameAuto ||
		lung.Color != [3]float64{0.0862745, 0.772549, 0.278431} || *lung.Extent != (Extent{{0, 124}, {0, 127}, {0, 33}}) ||
		!strings.Contains(lung.Tags, "SCT^39607008^Lung") {
		t.Errorf("%+v", lung)
	}
	if ball := segments[7]; ball.Name != "overlapping sphere" || ball.Value != 1 || ball.Layer != 1 {
		t.Errorf("%+v", ball)
	}
}

func TestSegmentKeys(t *testing.T) {
	pairs := func(kv ...string) (m Meta) {
		for i := 0; i < len(kv); i += 2 {
			m.Pairs = append(m.Pairs, KeyValue{kv[i], kv[i+1]})
		}
		return m
	}
	for _, tt := range []struct {
		m    Meta
		want []Segment
		bad  string // part of the error
	}{
		{pairs("Segment0_ID", "a"), []Segment{{ID: "a", Value: 1}}, ""},
		{pairs("Segment7_Name", "late", "Segment2_Name", "early", "Segment2_LabelValue", " 4 "), []Segment{{Name: "early", Value: 4}, {Name: "late", Value: 1}}, ""},
		{pairs("Segmentation_MasterRepresentation", "x", "Segment_ID", "y", "Segmentx_ID", "z", "Segment1", "w", "Segment-1_ID", "v"), []Segment{}, ""},
		{pairs("Segment99999999999999999999_ID", "y"), []Segment{}, ""},
		{pairs("Segment0_LabelValue", "x"), nil, "Segment0_LabelValue"},
		{pairs("Segment0_Layer", "-1"), nil, "Segment0_Layer"},
		{pairs("Segment0_Color", "1 1"), nil, "Segment0_Color"},
		{pairs("Segment0_Color", "1 1 2"), nil, "Segment0_Color"},
		{pairs("Segment0_Color", "nan 1 1"), nil, "Segment0_Color"},
		{pairs("Segment0_Extent", "0 1 0 1 0"), nil, "Segment0_Extent"},
		{pairs("Segment0_Extent", "0 1 0 1 0 x"), nil, "Segment0_Extent"},
	} {
		got, err := tt.m.Segments()
		if tt.bad == "" && (err != nil || !reflect.DeepEqual(got, tt.want)) {
			t.Errorf("%q: %+v, %v", tt.m.Pairs, got, err)
		}
		if msg, _ := fault.Message(err); tt.bad != "" && (fault.KindOf(err) != fault.Invalid || !strings.Contains(msg, tt.bad)) {
			t.Errorf("%q: %v", tt.m.Pairs, err)
		}
	}
}

// An extent beyond the grid would make Slicer cut the wrong voxels.
func TestExtentsStayInTheGrid(t *testing.T) {
	g := imaging.Grid{Size: [3]int{4, 5, 6}, Affine: imaging.Identity()}
	for _, tt := range []struct {
		e    *Extent
		want string
	}{
		{nil, "0 3 0 4 0 5"},
		{&Extent{{1, 2}, {0, 4}, {3, 3}}, "1 2 0 4 3 3"},
		{&Extent{{1, 4}, {0, 4}, {3, 3}}, "0 3 0 4 0 5"},
		{&Extent{{-1, 2}, {0, 4}, {3, 3}}, "0 3 0 4 0 5"},
		{&Extent{{0, -1}, {0, -1}, {0, -1}}, "0 3 0 4 0 5"}, // an empty segment
	} {
		m := Meta{Pairs: SegmentPairs(g, []Segment{{Value: 1, Extent: tt.e}})}
		if got, _ := m.Get("Segment0_Extent"); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.e, got, tt.want)
		}
	}
}

// Axes beyond space keep their number and order; what does not fit becomes one.
func TestListAxesAreWritten(t *testing.T) {
	v := imaging.NewVolume(imaging.Grid{Size: [3]int{2, 1, 1}, Affine: imaging.Identity()}, 6, imaging.Uint8)
	for i := range v.Data.(imaging.Samples[uint8]) {
		v.Data.(imaging.Samples[uint8])[i] = uint8(i)
	}
	for _, tt := range []struct {
		axes []raw.Axis
		want []raw.Axis
		text string
	}{
		{[]raw.Axis{{Size: 3, Kind: "vector"}, {Size: 2, Kind: "time"}}, []raw.Axis{{Size: 3, Kind: "vector"}, {Size: 2, Kind: "list"}}, "sizes: 3 2 2 1 1\n"},
		{[]raw.Axis{{Size: 3, Kind: "vector"}}, []raw.Axis{{Size: 6, Kind: "list"}}, "sizes: 6 2 1 1\n"},
		{nil, []raw.Axis{{Size: 6, Kind: "list"}}, "sizes: 6 2 1 1\n"},
	} {
		var b bytes.Buffer
		if err := Write(&b, v, WriteOptions{Axes: tt.axes, Content: "two\nlines"}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), tt.text) {
			t.Errorf("%+v: %q", tt.axes, b.String())
		}
		got, m, err := ReadWithMeta(t.Context(), raw.NewSource(&b, -1), raw.Limits{})
		if err != nil || !reflect.DeepEqual(got.Data, v.Data) || !reflect.DeepEqual(m.Axes, tt.want) || m.Content != "two lines" {
			t.Errorf("%+v: %v, %+v, %v", tt.axes, got, m, err)
		}
	}
}
