package conf

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is a size. As text it is a number with an optional unit: B, KB, MB, GB,
// TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024).
type Bytes int64

var units = []struct {
	suffix string
	factor float64
}{
	{"kib", 1 << 10},
	{"mib", 1 << 20},
	{"gib", 1 << 30},
	{"tib", 1 << 40},
	{"kb", 1e3},
	{"mb", 1e6},
	{"gb", 1e9},
	{"tb", 1e12},
	{"b", 1},
}

// ParseBytes reads a size such as "4GiB", "500 MB" or "1024".
func ParseBytes(text string) (Bytes, error) {
	s, factor := strings.ToLower(strings.TrimSpace(text)), 1.0
	for _, u := range units {
		if rest, ok := strings.CutSuffix(s, u.suffix); ok {
			s, factor = strings.TrimSpace(rest), u.factor
			break
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	f *= factor
	if err != nil || f < 0 || f != math.Trunc(f) || f >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is no size; write for example 4GiB or 500MB", text)
	}
	return Bytes(f), nil
}

// String returns the size in the largest power of 1024 that divides it.
func (b Bytes) String() string {
	for i := 3; i >= 0; i-- {
		if f := Bytes(units[i].factor); b >= f && b%f == 0 {
			return fmt.Sprintf("%d%ciB", b/f, "KMGT"[i])
		}
	}
	return fmt.Sprintf("%dB", int64(b))
}
