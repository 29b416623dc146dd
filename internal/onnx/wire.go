package onnx

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/voxloop/voxloop/internal/fault"
)

// Limits of one file, far above any real network: they bound the memory that
// a hostile file of many empty messages can claim.
const (
	maxObjects = 1 << 20 // messages and strings, counted together
	maxDepth   = 16      // graphs inside attributes of graphs
)

// decoder counts what one Parse has created.
type decoder struct{ objects, depth int }

// count accounts for one more message or string.
func (d *decoder) count() error {
	if d.objects++; d.objects > maxObjects {
		return invalid("it holds more than %d parts", maxObjects)
	}
	return nil
}

// invalid returns the fault of an unusable model file; the format says why.
func invalid(format string, args ...any) error {
	return fault.New(fault.Invalid, "not a usable ONNX model: "+format, args...)
}

// field is one decoded field: val holds the varint or fixed bits, bytes the
// content of a length-delimited field, whole the field as it stood in the file.
type field struct {
	num   protowire.Number
	typ   protowire.Type
	val   uint64
	bytes []byte
	whole []byte
}

// fields calls fn for every field of message b, in file order. what names the
// message in errors.
func fields(b []byte, what string, fn func(f field) error) error {
	for len(b) > 0 {
		f, n := nextField(b)
		if n < 0 {
			return invalid("a %s is cut short or garbled", what)
		}
		if err := fn(f); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// nextField decodes the first field of b and returns its length, or -1.
func nextField(b []byte) (field, int) {
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 {
		return field{}, -1
	}
	f := field{num: num, typ: typ}
	m := -1
	switch typ {
	case protowire.VarintType:
		f.val, m = protowire.ConsumeVarint(b[n:])
	case protowire.Fixed32Type:
		var v uint32
		v, m = protowire.ConsumeFixed32(b[n:])
		f.val = uint64(v)
	case protowire.Fixed64Type:
		f.val, m = protowire.ConsumeFixed64(b[n:])
	case protowire.BytesType:
		f.bytes, m = protowire.ConsumeBytes(b[n:])
	case protowire.StartGroupType, protowire.EndGroupType:
		m = protowire.ConsumeFieldValue(num, typ, b[n:])
	}
	if m < 0 {
		return field{}, -1
	}
	f.whole = b[:n+m]
	return f, n + m
}

func (f field) int64() int64                                 { return int64(f.val) }                        //nolint:gosec // protobuf's two's complement
func (f field) int32() int32                                 { return int32(f.val) }                        //nolint:gosec // protobuf truncates int32 the same way
func (f field) float32() float32                             { return math.Float32frombits(uint32(f.val)) } //nolint:gosec // holds 32 bits
func (f field) float64() float64                             { return math.Float64frombits(f.val) }         // holds 64 bits
func (f field) string() string                               { return string(f.bytes) }                     // copies: the name outlives the file
func (f field) is(n protowire.Number, t protowire.Type) bool { return f.num == n && f.typ == t }

// repeated appends the values of a repeated scalar field to dst, whether it
// stands alone (wire type single) or packed; conv turns the wire value into
// the element. what names the message in errors.
func repeated[T any](dst []T, f field, single protowire.Type, what string, conv func(field) T) ([]T, error) {
	if f.typ == single {
		return append(dst, conv(f)), nil
	}
	if f.typ != protowire.BytesType {
		return nil, invalid("field %d of a %s has wire type %d", f.num, what, f.typ)
	}
	dst = reserve(dst, f.bytes, single)
	for b := f.bytes; len(b) > 0; {
		v, n := packedValue(b, single)
		if n < 0 {
			return nil, invalid("a list in a %s is cut short", what)
		}
		dst = append(dst, conv(field{val: v}))
		b = b[n:]
	}
	return dst, nil
}

// reserve makes room for the elements of packed list b.
func reserve[T any](dst []T, b []byte, single protowire.Type) []T {
	n := 0
	switch single {
	case protowire.Fixed32Type:
		n = len(b) / 4
	case protowire.Fixed64Type:
		n = len(b) / 8
	default:
		for _, c := range b {
			if c < 0x80 { // the last byte of a varint
				n++
			}
		}
	}
	return append(make([]T, 0, len(dst)+n), dst...)
}

// packedValue decodes one element of a packed list.
func packedValue(b []byte, typ protowire.Type) (uint64, int) {
	switch typ {
	case protowire.Fixed32Type:
		v, n := protowire.ConsumeFixed32(b)
		return uint64(v), n
	case protowire.Fixed64Type:
		return protowire.ConsumeFixed64(b)
	default:
		return protowire.ConsumeVarint(b)
	}
}

// Encoding helpers: each appends one field.

func putVarint(b []byte, n protowire.Number, v int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), uint64(v)) //nolint:gosec // two's complement
}

func putBytes(b []byte, n protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
}

// putString leaves an empty string out.
func putString(b []byte, n protowire.Number, v string) []byte {
	if v == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), v)
}

// putMessage appends a message whose content enc appends.
func putMessage(b []byte, n protowire.Number, enc func([]byte) []byte) []byte {
	b = protowire.AppendTag(b, n, protowire.BytesType)
	// The length goes in front of the content: encode behind a gap of the
	// longest varint that a 32-bit length needs, then close the gap.
	const gap = 5
	start := len(b)
	b = append(b, make([]byte, gap)...)
	b = enc(b)
	size := len(b) - start - gap
	var head [10]byte
	h := protowire.AppendVarint(head[:0], uint64(size)) //nolint:gosec // a length
	if len(h) > gap {
		b = append(b, make([]byte, len(h)-gap)...)
	}
	copy(b[start+len(h):], b[start+gap:start+gap+size])
	copy(b[start:], h)
	return b[:start+len(h)+size]
}

// putPacked appends a packed list whose elements app appends.
func putPacked[T any](b []byte, n protowire.Number, vs []T, app func([]byte, T) []byte) []byte {
	if len(vs) == 0 {
		return b
	}
	return putMessage(b, n, func(b []byte) []byte {
		for _, v := range vs {
			b = app(b, v)
		}
		return b
	})
}

func appendInt64(b []byte, v int64) []byte {
	return protowire.AppendVarint(b, uint64(v)) //nolint:gosec // two's complement
}

func appendFloat32(b []byte, v float32) []byte {
	return protowire.AppendFixed32(b, math.Float32bits(v))
}

func appendFloat64(b []byte, v float64) []byte {
	return protowire.AppendFixed64(b, math.Float64bits(v))
}
