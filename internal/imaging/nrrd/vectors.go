package nrrd

import (
	"math"
	"strconv"
	"strings"

	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
)

type vector [3]float64

// parseVectors reads "(1,0,0) none (0, 1, 0)"; nil stands for none.
func parseVectors(text string) ([][]float64, error) {
	var out [][]float64
	for rest := strings.TrimSpace(text); rest != ""; rest = strings.TrimSpace(rest) {
		if after, ok := strings.CutPrefix(rest, "none"); ok {
			out, rest = append(out, nil), after
			continue
		}
		inner, after, ok := strings.Cut(rest, ")")
		if rest[0] != '(' || !ok {
			return nil, raw.Malformed("the NRRD vectors %.60q are malformed", text)
		}
		v, err := parseVector(inner[1:])
		if err != nil {
			return nil, err
		}
		out, rest = append(out, v), after
	}
	return out, nil
}

// parseVector reads "1,0,0"; a vector of NaN means none.
func parseVector(text string) ([]float64, error) {
	var v []float64
	nan := 0
	for p := range strings.SplitSeq(text, ",") {
		f, err := strconv.ParseFloat(strings.TrimSpace(p), 64)
		if err != nil {
			return nil, raw.Malformed("the NRRD vector component %.20q is no number", p)
		}
		if math.IsNaN(f) {
			nan++
		}
		v = append(v, f)
	}
	if len(v) > 4 {
		return nil, raw.Malformed("an NRRD vector has %d components", len(v))
	}
	if nan == len(v) {
		return nil, nil
	}
	return v, nil
}

// worldSigns converts the file's space to RAS.
func worldSigns(space string) vector {
	switch s := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(space)), "-time"); s {
	case "right-anterior-superior", "ras", "rast":
		return vector{1, 1, 1}
	case "left-anterior-superior", "las", "last":
		return vector{-1, 1, 1}
	}
	return vector{-1, -1, 1}
}

// complete adds unit directions at right angles to the given ones until there
// are three.
func complete(dirs []vector) []vector {
	if len(dirs) == 1 {
		// The world axis least along the first direction gives a second one.
		least := 0
		for i, c := range dirs[0] {
			if math.Abs(c) < math.Abs(dirs[0][least]) {
				least = i
			}
		}
		var w vector
		w[least] = 1
		dirs = append(dirs, unit(cross(cross(dirs[0], w), dirs[0])))
	}
	if len(dirs) == 2 {
		dirs = append(dirs, unit(cross(dirs[0], dirs[1])))
	}
	return dirs
}

func cross(a, b vector) vector {
	return vector{a[1]*b[2] - a[2]*b[1], a[2]*b[0] - a[0]*b[2], a[0]*b[1] - a[1]*b[0]}
}

func unit(v vector) vector {
	n := math.Sqrt(v[0]*v[0] + v[1]*v[1] + v[2]*v[2])
	if n == 0 {
		return v
	}
	return vector{v[0] / n, v[1] / n, v[2] / n}
}

// toVector takes the first three components; missing ones are 0.
func toVector(v []float64) vector {
	var r vector
	copy(r[:], v)
	return r
}
