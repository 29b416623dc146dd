package codec_test

import (
	"bytes"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
)

// ct is a smooth volume with noise in the low bits, which compresses about as
// well as a CT.
func ct(n int) *imaging.Volume {
	v := imaging.NewVolume(imaging.Grid{Size: [3]int{n, n, n}, Affine: affines["lps"]}, 1, imaging.Int16)
	state := uint32(1)
	for i := range v.Data.(imaging.Samples[int16]) {
		state = state*1664525 + 1013904223
		x, y, z := i%n, i/n%n, i/(n*n)
		wave := 400 * math.Sin(float64(x)/17) * math.Cos(float64(y)/23) * math.Sin(float64(z)/11)
		v.Data.(imaging.Samples[int16])[i] = int16(wave) + int16(state>>28)
	}
	return v
}

func blobs(n int) *imaging.LabelMap {
	l := imaging.NewLabelMap(imaging.Grid{Size: [3]int{n, n, n}, Affine: affines["lps"]})
	for i := range l.Data {
		x, y, z := i%n-n/2, i/n%n-n/2, i/(n*n)-n/2
		l.Data[i] = uint16(3 * n * n / (x*x + y*y + z*z + n*n/2) / 2)
	}
	return l
}

func BenchmarkRead(b *testing.B) {
	v := ct(192)
	bytesPer := int64(v.Data.Len() * v.Data.Type().Size())
	dir := b.TempDir()
	for _, ext := range []string{".nii", ".nii.gz", ".nrrd"} {
		path := filepath.Join(dir, "ct"+ext)
		if err := os.WriteFile(path, encode(b, ext, v, codec.WriteOptions{}), 0o600); err != nil {
			b.Fatal(err)
		}
		b.Run(ext, func(b *testing.B) {
			b.SetBytes(bytesPer)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := codec.Read(b.Context(), path, codec.Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReadGrid(b *testing.B) {
	path := filepath.Join(b.TempDir(), "ct.nii.gz")
	if err := os.WriteFile(path, encode(b, ".nii.gz", ct(64), codec.WriteOptions{}), 0o600); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := codec.ReadGrid(b.Context(), path); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	v, l := ct(192), blobs(192)
	for _, ext := range []string{".nii", ".nii.gz", ".nrrd"} {
		b.Run("image"+ext, func(b *testing.B) {
			b.SetBytes(int64(v.Data.Len() * v.Data.Type().Size()))
			b.ReportAllocs()
			for b.Loop() {
				if err := codec.Write(io.Discard, ext, v, codec.WriteOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("labels"+ext, func(b *testing.B) {
			b.SetBytes(int64(len(l.Data)))
			b.ReportAllocs()
			var out bytes.Buffer
			for b.Loop() {
				out.Reset()
				if err := codec.WriteLabels(&out, ext, l, imaging.Uint8, codec.WriteOptions{Compress: true}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(l.Data))/float64(out.Len()), "ratio")
		})
	}
}

func BenchmarkAlign(b *testing.B) {
	l := blobs(192)
	turned, _, err := l.Orient("SRA")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(2 * len(l.Data)))
	for b.Loop() {
		if _, ok := codec.Align(l, turned); !ok {
			b.Fatal("not aligned")
		}
	}
}
