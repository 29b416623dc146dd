package nifti

import (
	"strings"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
)

// Meta is what a file says beyond the volume. Handed back to Write, it is
// written again.
type Meta struct {
	Version   int  // of the format, 1 or 2
	BigEndian bool // byte order of the file; we always write little-endian
	Pair      bool // .hdr and .img

	// Dim are the sizes of the file's one to seven axes. Those above the third
	// are the volume's channels, the earlier one fastest; see Axes.
	Dim  []int
	Step [4]float64 // pixdim of the axes above the third, for time in Units

	Units       int // xyzt_units; see UnitNames. Positions are not converted
	Description string
	AuxFile     string
	Intent      Intent
	CalMin      float64 // display range; both 0 when there is none
	CalMax      float64
	TimeOffset  float64
	Slices      Slices
	DimInfo     int

	SformCode, QformCode int
	Extensions           []Extension

	// Problems are oddities that did not hinder reading.
	Problems []string

	place placing
}

// Intent says what the values mean (NIFTI_INTENT codes).
type Intent struct {
	Code   int
	Name   string
	Params [3]float64
}

// Slices describes the timing of the slices of an fMRI series.
type Slices struct {
	Start, End int64
	Code       int
	Duration   float64
}

// axisKinds name the axes above the third as the standard does.
var axisKinds = [4]string{"time", "vector", "", ""}

// Axes are the axes above the third, which make the channels.
func (m *Meta) Axes() []raw.Axis {
	var axes []raw.Axis
	for i, n := range m.Dim[min(3, len(m.Dim)):] {
		axes = append(axes, raw.Axis{Size: n, Kind: axisKinds[i], Step: m.Step[i]})
	}
	return axes
}

// Channel returns the channel of a volume with the entry index along the axes
// above the third: Channel(t) of a time series, Channel(t, k) for component k
// of a series of vectors. Errors are Invalid.
func (m *Meta) Channel(index ...int) (int, error) { return raw.ChannelOf(m.Axes(), index...) }

var (
	spaceUnits = map[int]string{0: "unknown", 1: "m", 2: "mm", 3: "µm"}
	timeUnits  = map[int]string{0: "unknown", 8: "s", 16: "ms", 24: "µs", 32: "Hz", 40: "ppm", 48: "rad/s"}
)

// UnitNames returns the units of the first three axes and of the fourth.
func (m *Meta) UnitNames() (space, time string) {
	space, time = spaceUnits[m.Units&7], timeUnits[m.Units&0x38]
	if space == "" {
		space = "undefined"
	}
	if time == "" {
		time = "undefined"
	}
	return space, time
}

// Sform returns the sform matrix as stored; ok is false without one.
func (m *Meta) Sform() (a imaging.Affine, ok bool) {
	h := header{dim: dims64(m.Dim), placing: m.place}
	return h.sform(), h.scode > 0
}

// Qform returns the matrix of the stored quaternion; ok is false without one
// or when it is no rotation.
func (m *Meta) Qform() (a imaging.Affine, ok bool) {
	h := header{dim: dims64(m.Dim), placing: m.place}
	h.settlePixdim()
	a, ok = h.qform()
	return a, ok && h.qcode > 0
}

// Pixdim returns the voxel size that the header states beside its matrices.
func (m *Meta) Pixdim() [3]float64 {
	return [3]float64{m.place.pixdim[1], m.place.pixdim[2], m.place.pixdim[3]}
}

func dims64(dim []int) []int64 {
	out := make([]int64, len(dim))
	for i, d := range dim {
		out[i] = int64(d)
	}
	return out
}

// text returns a fixed field up to its first zero byte, valid UTF-8.
func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return strings.ToValidUTF8(s, "\uFFFD")
}

// meta1 and meta2 read the fields of the two layouts that the voxels do not
// need.
func (h *header) meta1(r fields) {
	m := &h.meta
	m.Version, m.DimInfo, m.Units = 1, int(r.b[39]), int(r.b[123])
	m.Intent = Intent{r.i16(68), text(r.b[328:344]), [3]float64{r.f32(56), r.f32(60), r.f32(64)}}
	m.Slices = Slices{int64(r.i16(74)), int64(r.i16(120)), int(r.b[122]), r.f32(132)}
	m.CalMax, m.CalMin, m.TimeOffset = r.f32(124), r.f32(128), r.f32(136)
	m.Description, m.AuxFile = text(r.b[148:228]), text(r.b[228:252])
	h.bitpix = r.i16(72)
}

func (h *header) meta2(r fields) {
	m := &h.meta
	m.Version, m.DimInfo, m.Units = 2, int(r.b[524]), r.i32(500)
	m.Intent = Intent{r.i32(504), text(r.b[508:524]), [3]float64{r.f64(80), r.f64(88), r.f64(96)}}
	m.Slices = Slices{r.i64(224), r.i64(232), r.i32(496), r.f64(208)}
	m.CalMax, m.CalMin, m.TimeOffset = r.f64(192), r.f64(200), r.f64(216)
	m.Description, m.AuxFile = text(r.b[240:320]), text(r.b[320:344])
	h.bitpix = r.i16(14)
}
