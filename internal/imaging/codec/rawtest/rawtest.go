// Package rawtest measures what a reader allocates against what its file can
// hold. It is imported by tests only, fuzz targets in the first place.
package rawtest

import (
	"bytes"
	"math"
	"runtime/metrics"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
)

const (
	// fixed is what reading any file may allocate: buffers, the decoders'
	// windows and tables, messages.
	fixed = 1 << 20
	// perByte is how many bytes may be allocated, all in all, for one byte that
	// the file can yield: slices that grow (twice their end), voxels reordered
	// and written as text in the file ("1 " becomes a float64).
	perByte = 16
	// text is the most bytes of a header that are kept, extensions included.
	text = 16 << 20
)

// Yield returns the most bytes that the given files can yield together once
// they are decoded: their length; 1032 times that where one may hold a DEFLATE
// stream (raw.DeflateRatio); anything where one may hold a bzip2 stream, which
// knows no such bound.
func Yield(files ...[]byte) int64 {
	var length int64
	ratio := int64(1)
	for _, f := range files {
		length += int64(len(f))
		if bytes.Contains(f, []byte{0x1f, 0x8b}) {
			ratio = raw.DeflateRatio
		}
	}
	for _, f := range files {
		if bytes.Contains(f, []byte("BZh")) {
			return math.MaxInt64
		}
	}
	return length * ratio
}

// Bounded runs read and fails unless everything that it allocated, garbage
// included, is within a bound that follows from what the files can yield (see
// Yield) and from kept, the most bytes of voxels that may be kept: the
// configured maximum, or 0 for a check that keeps none.
func Bounded(t testing.TB, what string, yield, kept int64, read func()) {
	t.Helper()
	before := allocated()
	read()
	used := allocated() - before
	if most := Most(yield, kept); used > most {
		t.Fatalf("%s allocated %d bytes, more than %d, for files that can yield %d bytes and at most %d of voxels", what, used, most, yield, kept)
	}
}

// Most is the bound of Bounded.
func Most(yield, kept int64) int64 { return fixed + perByte*min(yield, kept+text) }

// allocated returns how many bytes this process has allocated since it began.
// Unlike runtime.ReadMemStats it does not stop the world.
func allocated() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64()) //nolint:gosec // far below 2^63
}
