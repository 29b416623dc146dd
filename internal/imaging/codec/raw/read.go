package raw

import (
	"context"
	"encoding/binary"
	"io"
	"math/bits"
	"unsafe"

	"github.com/voxloop/voxloop/internal/imaging"
)

// chunkSize is how much is read between two looks at the context, and the
// first allocation for a stream of unknown length.
const chunkSize = 4 << 20

// little says whether this machine stores numbers little-endian.
var little = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// ReadVoxels reads n voxels of type t. Memory for all of them is taken at once
// only when the stream is known to hold them, or its own end says so; otherwise
// it grows with what arrives. big says that the stream is big-endian.
func ReadVoxels(ctx context.Context, s *Source, t imaging.DataType, n int, big bool) (imaging.Voxels, error) {
	switch t {
	case imaging.Uint8:
		return readSamples[uint8](ctx, s, n, big)
	case imaging.Int8:
		return readSamples[int8](ctx, s, n, big)
	case imaging.Uint16:
		return readSamples[uint16](ctx, s, n, big)
	case imaging.Int16:
		return readSamples[int16](ctx, s, n, big)
	case imaging.Uint32:
		return readSamples[uint32](ctx, s, n, big)
	case imaging.Int32:
		return readSamples[int32](ctx, s, n, big)
	case imaging.Uint64:
		return readSamples[uint64](ctx, s, n, big)
	case imaging.Int64:
		return readSamples[int64](ctx, s, n, big)
	case imaging.Float32:
		return readSamples[float32](ctx, s, n, big)
	case imaging.Float64:
		return readSamples[float64](ctx, s, n, big)
	case imaging.Unknown:
	}
	return nil, Malformed("the type of the voxels is unknown")
}

func readSamples[T imaging.Number](ctx context.Context, s *Source, n int, big bool) (imaging.Voxels, error) {
	size := sizeOf[T]()
	left := s.Left()
	if left >= 0 && int64(n) > left/int64(size) {
		return nil, Malformed("%d voxels of %d bytes do not fit into a file of its length", n, size)
	}
	first := n
	if !s.exact && !s.promises(int64(n)*int64(size)) {
		first = int(min(int64(n), s.initial/int64(size)))
	}
	out := make([]T, first)
	for done := 0; done < n; {
		if err := ctx.Err(); err != nil {
			return nil, ReadFailure(err, "the voxels")
		}
		if done == len(out) {
			grown := make([]T, min(n, 2*len(out)))
			copy(grown, out)
			out = grown
		}
		end := min(len(out), done+chunkSize/size)
		if _, err := io.ReadFull(s, bytesOf(out[done:end])); err != nil {
			return nil, ReadFailure(err, "the voxels")
		}
		if size > 1 && big == little {
			swap(out[done:end])
		}
		done = end
	}
	return imaging.Samples[T](out), nil
}

func sizeOf[T imaging.Number]() int {
	var zero T
	return int(unsafe.Sizeof(zero))
}

// bytesOf views numbers as their bytes in this machine's order.
func bytesOf[T imaging.Number](v []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*sizeOf[T]()) //nolint:gosec // numbers have no pointers or padding
}

// swap reverses the bytes of every number.
func swap[T imaging.Number](v []T) {
	switch sizeOf[T]() {
	case 2:
		w := viewAs[uint16](v)
		for i, x := range w {
			w[i] = bits.ReverseBytes16(x)
		}
	case 4:
		w := viewAs[uint32](v)
		for i, x := range w {
			w[i] = bits.ReverseBytes32(x)
		}
	case 8:
		w := viewAs[uint64](v)
		for i, x := range w {
			w[i] = bits.ReverseBytes64(x)
		}
	}
}

// viewAs views numbers as unsigned ones of the same size and alignment.
func viewAs[U, T imaging.Number](v []T) []U {
	return unsafe.Slice((*U)(unsafe.Pointer(unsafe.SliceData(v))), len(v)) //nolint:gosec // sizes are equal, see swap
}
