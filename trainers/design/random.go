package design

import (
	"math"

	"github.com/voxloop/voxloop/internal/philox"
)

// normals fills dst with normal numbers of mean 0 and the given deviation.
// Which ones hangs on the seed, the name and the index alone, so that a
// parameter gets the same values wherever it stands in the network: words of
// the counter-based generator under the key (seed, name), turned to normal
// numbers in pairs (Box and Muller 1958).
func normals(dst []float32, sd float64, seed uint64, name string) {
	id := philox.Hash(name)
	for i := 0; i < len(dst); i += 4 {
		a, b, c, d := philox.Block(uint64(i/4), 0, 0, 0, seed, id)
		var n [4]float64
		n[0], n[1] = boxMuller(a, b)
		n[2], n[3] = boxMuller(c, d)
		for k := i; k < min(i+4, len(dst)); k++ {
			dst[k] = float32(sd * n[k-i])
		}
	}
}

// boxMuller returns two independent normal numbers from two words.
func boxMuller(a, b uint64) (x, y float64) {
	radius := math.Sqrt(-2 * math.Log((float64(a>>11)+0.5)*0x1p-53)) // of a number in (0, 1)
	sin, cos := math.Sincos(2 * math.Pi * (float64(b>>11) * 0x1p-53))
	return radius * cos, radius * sin
}
