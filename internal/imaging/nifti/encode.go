package nifti

import (
	"encoding/binary"
	"io"
	"math"

	"github.com/voxloop/voxloop/internal/imaging"
)

// writeHeader writes the header with its extensions: what precedes the voxels
// of a single file, or the .hdr file of a pair.
func (e *encoder) writeHeader(w io.Writer) error {
	b := e.encode1
	if e.version == 2 {
		b = e.encode2
	}
	if _, err := w.Write(b()); err != nil {
		return err
	}
	_, err := w.Write(e.extensions)
	return err
}

// offset is where the voxels start, counted in their own file.
func (e *encoder) offset(size int) int64 {
	if e.pair {
		return 0
	}
	return int64(size + len(e.extensions))
}

// dims returns dim[8]: the number of axes, then their sizes, 1 beyond them.
func (e *encoder) dims() [8]int64 {
	dim := [8]int64{int64(len(e.dim)), 1, 1, 1, 1, 1, 1, 1}
	for i, d := range e.dim {
		dim[i+1] = int64(d)
	}
	return dim
}

// put writes numbers into a header, little-endian.
type put []byte

func (b put) i16(at int, n int64) { binary.LittleEndian.PutUint16(b[at:], uint16(n)) } //nolint:gosec // in range, or bits that were read
func (b put) i32(at int, n int64) { binary.LittleEndian.PutUint32(b[at:], uint32(n)) } //nolint:gosec // in range, or bits that were read
func (b put) i64(at int, n int64) { binary.LittleEndian.PutUint64(b[at:], uint64(n)) } //nolint:gosec // reinterprets bits
func (b put) f32(at int, f float64) {
	binary.LittleEndian.PutUint32(b[at:], math.Float32bits(float32(f)))
}
func (b put) f64(at int, f float64) { binary.LittleEndian.PutUint64(b[at:], math.Float64bits(f)) }

// text fills a field of n bytes; what is longer is cut.
func (b put) text(at, n int, s string) { copy(b[at:at+n], s) }

// encode1 returns the 348 bytes of nifti1.h.
func (e *encoder) encode1() []byte {
	b, m, t := put(make([]byte, size1)), e.meta, e.v.Data.Type()
	b.i32(0, size1)
	b[38] = 'r'             // "regular": some Analyze readers insist
	b[39] = byte(m.DimInfo) //nolint:gosec // a byte that was read
	for i, d := range e.dims() {
		b.i16(40+2*i, d)
	}
	for i, p := range m.Intent.Params {
		b.f32(56+4*i, p)
	}
	b.i16(68, int64(m.Intent.Code))
	b.i16(70, int64(codeOf(t)))
	b.i16(72, int64(8*t.Size()))
	b.i16(74, m.Slices.Start)
	b.f32(108, float64(e.offset(size1)))
	b.f32(112, e.v.Slope)
	b.f32(116, e.v.Intercept)
	b.i16(120, m.Slices.End)
	b[122], b[123] = byte(m.Slices.Code), byte(m.Units) //nolint:gosec // bytes that were read, or small codes
	b.f32(124, m.CalMax)
	b.f32(128, m.CalMin)
	b.f32(132, m.Slices.Duration)
	b.f32(136, m.TimeOffset)
	b.text(148, 80, m.Description)
	b.text(228, 24, m.AuxFile)
	b.text(328, 16, m.Intent.Name)
	b.text(344, 4, magic1[e.pair])
	e.place.encode(76, 252, 256, b.i16, b.f32, 4)
	return b
}

// encode2 returns the 540 bytes of nifti2.h.
func (e *encoder) encode2() []byte {
	b, m, t := put(make([]byte, size2)), e.meta, e.v.Data.Type()
	b.i32(0, size2)
	b.text(4, 8, magic2[e.pair])
	b.i16(12, int64(codeOf(t)))
	b.i16(14, int64(8*t.Size()))
	for i, d := range e.dims() {
		b.i64(16+8*i, d)
	}
	for i, p := range m.Intent.Params {
		b.f64(80+8*i, p)
	}
	b.i64(168, e.offset(size2))
	b.f64(176, e.v.Slope)
	b.f64(184, e.v.Intercept)
	b.f64(192, m.CalMax)
	b.f64(200, m.CalMin)
	b.f64(208, m.Slices.Duration)
	b.f64(216, m.TimeOffset)
	b.i64(224, m.Slices.Start)
	b.i64(232, m.Slices.End)
	b.text(240, 80, m.Description)
	b.text(320, 24, m.AuxFile)
	b.i32(496, int64(m.Slices.Code))
	b.i32(500, int64(m.Units))
	b.i32(504, int64(m.Intent.Code))
	b.text(508, 16, m.Intent.Name)
	b[524] = byte(m.DimInfo) //nolint:gosec // a byte that was read
	e.place.encode(104, 344, 352, b.i32, b.f64, 8)
	return b
}

// encode writes pixdim, the two codes and, behind one another, quaternion,
// offset and the rows of the sform. width is the size of a number, twice that
// of a code.
func (p *placing) encode(pixdim, codes, forms int, code func(int, int64), number func(int, float64), width int) {
	for i, f := range p.pixdim {
		number(pixdim+width*i, f)
	}
	code(codes, int64(p.qcode))
	code(codes+width/2, int64(p.scode))
	for i := range 3 {
		number(forms+width*i, p.quatern[i])
		number(forms+width*(3+i), p.qoffset[i])
		for j := range 4 {
			number(forms+width*(6+4*i+j), p.srow[i][j])
		}
	}
}

var (
	magic1 = map[bool]string{false: "n+1\x00", true: "ni1\x00"} // by pair
	magic2 = map[bool]string{false: "n+2\x00\r\n\x1a\n", true: "ni2\x00\r\n\x1a\n"}
)

// codeOf returns the datatype code of a valid volume's voxels.
func codeOf(t imaging.DataType) int {
	for code, c := range types {
		if c == t {
			return code
		}
	}
	return 0
}
