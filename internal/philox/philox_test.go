package philox_test

import (
	"math"
	"testing"

	"github.com/voxloop/voxloop/internal/philox"
)

// The known answers of Random123 (kat_vectors: zeros, ones, digits of pi); the
// last row is NumPy's, numpy.random.Philox.
func TestPhiloxKnownAnswers(t *testing.T) {
	const ones = math.MaxUint64
	tests := []struct {
		counter [4]uint64
		key     [2]uint64
		want    [4]uint64
	}{
		{want: [4]uint64{0x16554d9eca36314c, 0xdb20fe9d672d0fdc, 0xd7e772cee186176b, 0x7e68b68aec7ba23b}},
		{
			[4]uint64{ones, ones, ones, ones},
			[2]uint64{ones, ones},
			[4]uint64{0x87b092c3013fe90b, 0x438c3c67be8d0224, 0x9cc7d7c69cd777b6, 0xa09caebf594f0ba0},
		},
		{
			[4]uint64{0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0, 0x082efa98ec4e6c89},
			[2]uint64{0x452821e638d01377, 0xbe5466cf34e90c6c},
			[4]uint64{0xa528f45403e61d95, 0x38c72dbd566e9788, 0xa5a1610e72fd18b5, 0x57bd43b5e52b7fe6},
		},
		{
			[4]uint64{5, 3, 2, 1},
			[2]uint64{7, 11},
			[4]uint64{0x7f5285fc424f5622, 0x180932ea6136dfb5, 0xd68fd2b59e986f24, 0x1fb0c8459ed45ba7},
		},
	}
	for i, tt := range tests {
		var got [4]uint64
		c := tt.counter
		got[0], got[1], got[2], got[3] = philox.Block(c[0], c[1], c[2], c[3], tt.key[0], tt.key[1])
		if got != tt.want {
			t.Errorf("vector %d: %x, want %x", i, got, tt.want)
		}
	}
}

// Texts that differ in one byte, or in length only, get keys that differ in
// about half of their bits.
func TestHash(t *testing.T) {
	if a, b := philox.Hash("a"), philox.Hash("a"); a != b {
		t.Error("equal texts have different hashes")
	}
	for _, pair := range [][2]string{{"", "\x00"}, {"node_1", "node_2"}, {"a", "aa"}} {
		d := 0
		for x := philox.Hash(pair[0]) ^ philox.Hash(pair[1]); x != 0; x &= x - 1 {
			d++
		}
		if d < 16 || d > 48 {
			t.Errorf("hashes of %q differ in %d of 64 bits", pair, d)
		}
	}
}
