package nifti

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
)

// Sizes of the headers as their first field states them.
const (
	size1 = 348
	size2 = 540
	// dataStart1 is where the voxels of a single NIfTI-1 file start at the
	// earliest: behind the header and the four extension flags.
	dataStart1 = size1 + 4
	dataStart2 = size2 + 4
)

// types maps the datatype codes of real numbers (nifti1.h). RGB, complex and
// 128-bit types are refused by name.
var types = map[int]imaging.DataType{
	2: imaging.Uint8, 4: imaging.Int16, 8: imaging.Int32, 16: imaging.Float32, 64: imaging.Float64,
	256: imaging.Int8, 512: imaging.Uint16, 768: imaging.Uint32, 1024: imaging.Int64, 1280: imaging.Uint64,
}

var refusedTypes = map[int]string{
	0: "unknown", 1: "binary", 32: "complex64", 128: "RGB", 1536: "float128", 1792: "complex128", 2048: "complex256", 2304: "RGBA",
}

// header holds the fields that matter of a NIfTI-1 or NIfTI-2 header.
type header struct {
	placing
	big            bool // byte order of header and voxels
	pair           bool // the voxels are in a separate .img file
	size           int  // bytes of the header itself
	dim            []int64
	datatype       int
	bitpix         int
	offset         float64 // of the voxels in the file
	slope, inter   float64
	declaredOffset int64 // offset once it has been checked
	meta           Meta
}

// placing holds the fields that place the voxels in the world.
type placing struct {
	pixdim       [8]float64
	qcode, scode int
	quatern      [3]float64 // b, c, d
	qoffset      [3]float64
	srow         [3][4]float64
}

// Match reports whether the first bytes of a file (348 or more) look like a
// NIfTI header of either version and byte order, or like an Analyze 7.5 one.
func Match(head []byte) bool {
	_, _, ok := sizeField(head)
	return ok
}

func sizeField(head []byte) (size int, big, ok bool) {
	if len(head) < 4 {
		return 0, false, false
	}
	for _, s := range []uint32{size1, size2} {
		if binary.LittleEndian.Uint32(head) == s {
			return int(s), false, true
		}
		if binary.BigEndian.Uint32(head) == s {
			return int(s), true, true
		}
	}
	return 0, false, false
}

// readHeader reads and checks the header; the stream then stands behind it.
func readHeader(s *raw.Source) (header, error) {
	size, big, ok := sizeField(s.Peek(4))
	if !ok {
		return header{}, raw.Malformed("it does not start with a NIfTI header")
	}
	b := make([]byte, size)
	if err := s.ReadFull(b, "the NIfTI header"); err != nil {
		return header{}, err
	}
	r := fields{b: b, order: binary.LittleEndian}
	if big {
		r.order = binary.BigEndian
	}
	h := header{big: big, size: size}
	var err error
	if size == size1 {
		err = h.parse1(r)
	} else {
		err = h.parse2(r)
	}
	if err == nil {
		h.finishMeta()
		err = h.check()
	}
	return h, err
}

// parse1 reads the NIfTI-1 layout (nifti1.h).
func (h *header) parse1(r fields) error {
	switch magic := r.b[344:348]; {
	case string(magic) == magic1[false]:
	case string(magic) == magic1[true]:
		h.pair = true
	default:
		return raw.Malformed("the header has no NIfTI magic; an Analyze 7.5 file does not say where its voxels lie, convert it to NIfTI")
	}
	n := r.i16(40)
	if n < 1 || n > 7 {
		return raw.Malformed("the header declares %d dimensions", n)
	}
	for i := range n {
		h.dim = append(h.dim, int64(r.i16(42+2*i)))
	}
	h.datatype = r.i16(70)
	for i := range h.pixdim {
		h.pixdim[i] = r.f32(76 + 4*i)
	}
	h.offset, h.slope, h.inter = r.f32(108), r.f32(112), r.f32(116)
	h.qcode, h.scode = r.i16(252), r.i16(254)
	for i := range 3 {
		h.quatern[i], h.qoffset[i] = r.f32(256+4*i), r.f32(268+4*i)
		for j := range 4 {
			h.srow[i][j] = r.f32(280 + 16*i + 4*j)
		}
	}
	h.meta1(r)
	return nil
}

// parse2 reads the NIfTI-2 layout (nifti2.h).
func (h *header) parse2(r fields) error {
	switch magic := r.b[4:12]; {
	case string(magic) == magic2[false]:
	case string(magic) == magic2[true]:
		h.pair = true
	default:
		return raw.Malformed("the NIfTI-2 magic is damaged; the file may have been transferred as text")
	}
	n := r.i64(16)
	if n < 1 || n > 7 {
		return raw.Malformed("the header declares %d dimensions", n)
	}
	for i := range int(n) {
		h.dim = append(h.dim, r.i64(24+8*i))
	}
	h.datatype = r.i16(12)
	for i := range h.pixdim {
		h.pixdim[i] = r.f64(104 + 8*i)
	}
	h.offset, h.slope, h.inter = float64(r.i64(168)), r.f64(176), r.f64(184)
	h.qcode, h.scode = r.i32(344), r.i32(348)
	for i := range 3 {
		h.quatern[i], h.qoffset[i] = r.f64(352+8*i), r.f64(376+8*i)
		for j := range 4 {
			h.srow[i][j] = r.f64(400 + 32*i + 8*j)
		}
	}
	h.meta2(r)
	return nil
}

// check refuses what no reader could use and settles scaling and voxel sizes
// as nibabel does: a slope that is 0 or not finite means none, a voxel size of
// 0 means 1, its sign is ignored, and pixdim[0] (qfac) is -1 or else 1.
func (h *header) check() error {
	if types[h.datatype] == imaging.Unknown {
		if name := refusedTypes[h.datatype]; name != "" {
			return raw.Malformed("voxels of type %s are not supported", name)
		}
		return raw.Malformed("the header declares the unknown voxel type %d", h.datatype)
	}
	for i, d := range h.dim {
		if d < 1 {
			return raw.Malformed("the header declares %d voxels along axis %d", d, i+1)
		}
	}
	if err := h.checkOffset(); err != nil {
		return err
	}
	if h.slope == 0 || !finite(h.slope) {
		if h.slope != 0 || h.inter != 0 {
			h.meta.Problems = append(h.meta.Problems, fmt.Sprintf("the slope is %g, the intercept %g: voxels are not scaled", h.slope, h.inter))
		}
		h.slope, h.inter = 1, 0
	}
	if !finite(h.inter) {
		return raw.Malformed("the header's intercept is %g", h.inter)
	}
	h.settlePixdim()
	return nil
}

func (p *placing) settlePixdim() {
	if p.pixdim[0] != -1 {
		p.pixdim[0] = 1
	}
	for i := 1; i <= 3; i++ {
		if p.pixdim[i] = math.Abs(p.pixdim[i]); p.pixdim[i] == 0 {
			p.pixdim[i] = 1
		}
	}
}

// finishMeta keeps what is stored before check settles it.
func (h *header) finishMeta() {
	m := &h.meta
	m.BigEndian, m.Pair, m.place = h.big, h.pair, h.placing
	m.SformCode, m.QformCode = h.scode, h.qcode
	copy(m.Step[:], h.pixdim[4:])
	for _, d := range h.dim {
		m.Dim = append(m.Dim, int(d))
	}
	if t := types[h.datatype]; t != imaging.Unknown && h.bitpix != 8*t.Size() {
		m.Problems = append(m.Problems, fmt.Sprintf("the header says %d bits per voxel, but %s has %d", h.bitpix, t, 8*t.Size()))
	}
}

func (h *header) checkOffset() error {
	least := float64(dataStart1)
	switch {
	case h.pair:
		least = 0
	case h.size == size2:
		least = dataStart2
	}
	if !(h.offset >= least && h.offset < 1<<52) {
		return raw.Malformed("the header says that the voxels start at byte %g; %g is the least", h.offset, least)
	}
	h.declaredOffset = int64(h.offset)
	return nil
}

func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

// fields reads numbers out of a header.
type fields struct {
	b     []byte
	order binary.ByteOrder
}

func (f fields) i16(at int) int     { return int(int16(f.order.Uint16(f.b[at:]))) } //nolint:gosec // reinterprets bits
func (f fields) i32(at int) int     { return int(int32(f.order.Uint32(f.b[at:]))) } //nolint:gosec // reinterprets bits
func (f fields) i64(at int) int64   { return int64(f.order.Uint64(f.b[at:])) }      //nolint:gosec // reinterprets bits
func (f fields) f64(at int) float64 { return math.Float64frombits(f.order.Uint64(f.b[at:])) }
func (f fields) f32(at int) float64 {
	return float64(math.Float32frombits(f.order.Uint32(f.b[at:])))
}
