package raw

import (
	"io"
	"math"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
)

// writeChunk is how many voxels are written, swapped or interleaved at a time.
const writeChunk = 64 << 10

// GzipLevel is the compression level of everything we write. Clients wait for
// it; higher levels cost several times the time for a few per cent.
const GzipLevel = gzip.BestSpeed

// NewGzipWriter returns a gzip stream without name and time stamp, so that
// equal volumes give equal files.
func NewGzipWriter(w io.Writer) (*gzip.Writer, error) {
	z, err := gzip.NewWriterLevel(w, GzipLevel)
	if err == nil {
		z.ModTime = time.Unix(0, 0) // "no time stamp" in the format; the zero Time would be written as some year
	}
	return z, err
}

// WriteVoxels writes voxels little-endian in their stored order.
func WriteVoxels(w io.Writer, v imaging.Voxels) error { return WriteInterleaved(w, v, 1) }

// WriteInterleaved writes the voxels of channels blocks of equal length
// little-endian with the channel index fastest.
func WriteInterleaved(w io.Writer, v imaging.Voxels, channels int) error {
	switch d := v.(type) {
	case imaging.Samples[uint8]:
		return writeSamples(w, d, channels)
	case imaging.Samples[int8]:
		return writeSamples(w, d, channels)
	case imaging.Samples[uint16]:
		return writeSamples(w, d, channels)
	case imaging.Samples[int16]:
		return writeSamples(w, d, channels)
	case imaging.Samples[uint32]:
		return writeSamples(w, d, channels)
	case imaging.Samples[int32]:
		return writeSamples(w, d, channels)
	case imaging.Samples[uint64]:
		return writeSamples(w, d, channels)
	case imaging.Samples[int64]:
		return writeSamples(w, d, channels)
	case imaging.Samples[float32]:
		return writeSamples(w, d, channels)
	case imaging.Samples[float64]:
		return writeSamples(w, d, channels)
	}
	return fault.New(fault.Internal, "voxels of type %T cannot be written", v)
}

func writeSamples[T imaging.Number](w io.Writer, v []T, channels int) error {
	if channels == 1 && (little || sizeOf[T]() == 1) {
		for len(v) > 0 {
			n := min(len(v), writeChunk)
			if _, err := w.Write(bytesOf(v[:n])); err != nil {
				return err
			}
			v = v[n:]
		}
		return nil
	}
	per := len(v) / channels
	buf := make([]T, 0, min(len(v), max(writeChunk, channels)))
	rows := max(1, writeChunk/channels)
	for from := 0; from < per; from += rows {
		to := min(per, from+rows)
		buf = buf[:(to-from)*channels]
		for c := range channels {
			for i, x := range v[c*per+from : c*per+to] {
				buf[i*channels+c] = x
			}
		}
		if !little {
			swap(buf)
		}
		if _, err := w.Write(bytesOf(buf)); err != nil {
			return err
		}
	}
	return nil
}

// Unscaled returns a volume with slope 1 and intercept 0 and the same values:
// v itself when it has no scaling, else a float copy. float32 holds the scaled
// values of 8- and 16-bit integers and of float32, float64 the others.
func Unscaled(v *imaging.Volume) *imaging.Volume {
	if v.Slope == 1 && v.Intercept == 0 {
		return v
	}
	t := imaging.Float32
	if s := v.Data.Type().Size(); s > 2 && v.Data.Type() != imaging.Float32 {
		t = imaging.Float64
	}
	out := imaging.NewVolume(v.Grid, v.Channels, t)
	switch d := out.Data.(type) {
	case imaging.Samples[float32]:
		v.Data.Float32s(d, 0, v.Slope, v.Intercept)
	case imaging.Samples[float64]:
		for i := range d {
			d[i] = v.Data.At(i)*v.Slope + v.Intercept
		}
	}
	return out
}

// FitsFloat32 reports whether a scaling survives being stored as two float32:
// finite and the slope not rounded to 0.
func FitsFloat32(slope, intercept float64) bool {
	s, i := float32(slope), float32(intercept)
	return s != 0 && !math.IsInf(float64(s), 0) && !math.IsInf(float64(i), 0) && s == s && i == i
}
