package local

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/ordered"
)

// studies makes a folder with n tiny images, every tenth of them labelled.
func studies(b *testing.B, n int) string {
	b.Helper()
	dir := b.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "labels", "final"), 0o750); err != nil {
		b.Fatal(err)
	}
	for i := range n {
		name := fmt.Sprintf("case%06d.nii.gz", i)
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			b.Fatal(err)
		}
		if i%10 == 0 {
			if err := os.WriteFile(filepath.Join(dir, "labels", "final", name), []byte("y"), 0o600); err != nil {
				b.Fatal(err)
			}
		}
	}
	return dir
}

// BenchmarkStore measures what a store of a size costs. Beside the times it
// reports the live heap and the space that the index takes.
func BenchmarkStore(b *testing.B) {
	for _, n := range []int{195, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmarkStore(b, n) })
	}
}

func benchmarkStore(b *testing.B, n int) {
	b.Helper()
	dir := studies(b, n)
	o := Options{Studies: dir, Rescan: time.Hour}
	start := time.Now()
	s := open(b, o)
	first := time.Since(start)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("open", func(b *testing.B) {
		b.ReportMetric(float64(first.Milliseconds()), "ms-first")
		for b.Loop() {
			s := open(b, o)
			b.StopTimer()
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
	before := heap()
	s = open(b, o)
	defer func() { _ = s.Close() }()
	if err := s.flush(b.Context(), false); err != nil {
		b.Fatal(err)
	}
	b.Run("memory", func(b *testing.B) {
		for b.Loop() {
		}
		b.ReportMetric(float64(heap()-before)/1e6, "MB-heap")
		b.ReportMetric(float64(diskUse(b, filepath.Join(dir, StateDir)))/1e6, "MB-disk")
	})
	id := fmt.Sprintf("case%06d", n/2)
	b.Run("image", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Image(id); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("stats", func(b *testing.B) {
		for b.Loop() {
			if s.Stats().Total != n {
				b.Fatal("wrong total")
			}
		}
	})
	b.Run("served", func(b *testing.B) { benchmarkServed(b, s, id) })
	b.Run("save", func(b *testing.B) {
		for b.Loop() {
			_, err := s.SaveLabel(b.Context(), id, "final", datastore.LabelFile{Ext: ".nii.gz", Info: ordered.Of("k", 1), Write: bytesWriter("label")})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("index_file", func(b *testing.B) {
		var buf bytes.Buffer
		for b.Loop() {
			buf.Reset()
			if err := s.renderIndex(&buf, fileForm); err != nil {
				b.Fatal(err)
			}
		}
		b.SetBytes(int64(buf.Len()))
	})
	b.Run("index_compact", func(b *testing.B) {
		for b.Loop() {
			if err := s.Index(io.Discard); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("rescan", func(b *testing.B) {
		for b.Loop() {
			if err := s.rescan(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// benchmarkServed reports the 99th percentile, too: rewrites of the index file
// go on meanwhile.
func benchmarkServed(b *testing.B, s *Store, id string) {
	b.Helper()
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		if err := s.MarkServed(id, "random", "client", 1); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
	b.ReportMetric(float64(took[len(took)-1].Microseconds()), "µs-max")
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// diskUse returns the bytes that the files below dir really take.
func diskUse(b *testing.B, dir string) int64 {
	b.Helper()
	var total int64
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += blocks(info)
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return total
}

// blocks returns the bytes that a file takes on the disk.
func blocks(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return info.Size()
}
