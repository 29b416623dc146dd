package raw

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
)

// ramp is n int32 voxels with different bytes, as Go values and little-endian.
func ramp(n int) (imaging.Samples[int32], []byte) {
	v := make(imaging.Samples[int32], n)
	for i := range v {
		v[i] = int32(i*2654435 - 1<<30)
	}
	var b bytes.Buffer
	if err := WriteVoxels(&b, v); err != nil {
		panic(err)
	}
	return v, b.Bytes()
}

func reversed(b []byte, size int) []byte {
	r := bytes.Clone(b)
	for c := range slices.Chunk(r, size) {
		slices.Reverse(c)
	}
	return r
}

// More voxels than one chunk, from streams of known and unknown length, in
// both byte orders, arriving in pieces of any size.
func TestReadVoxelsGrowsWithTheStream(t *testing.T) {
	want, b := ramp(3*chunkSize/4 + 17)
	for _, big := range []bool{false, true} {
		data := b
		if big {
			data = reversed(b, 4)
		}
		for name, s := range map[string]*Source{
			"known":   NewSource(bytes.NewReader(data), int64(len(data))),
			"unknown": NewSource(bytes.NewReader(data), -1),
			"pieces":  NewSource(iotest.HalfReader(bytes.NewReader(data)), -1),
			"errors":  NewSource(iotest.DataErrReader(bytes.NewReader(data)), -1),
		} {
			v, err := ReadVoxels(t.Context(), s, imaging.Int32, len(want), big)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if !slices.Equal(v.(imaging.Samples[int32]), want) {
				t.Errorf("%s, big-endian %v: wrong voxels", name, big)
			}
		}
	}
}

func TestLittleEndianOnDisk(t *testing.T) {
	var b bytes.Buffer
	if err := WriteVoxels(&b, imaging.Samples[uint16]{0x0102, 0xa0b0}); err != nil {
		t.Fatal(err)
	}
	if got := b.Bytes(); !bytes.Equal(got, []byte{2, 1, 0xb0, 0xa0}) {
		t.Errorf("% x", got)
	}
}

// Channel blocks written with the channel fastest and gathered again, across
// several write chunks.
func TestInterleaveAndGatherAreInverse(t *testing.T) {
	const n, channels = writeChunk/2 + 5, 3
	want, _ := ramp(n * channels)
	var b bytes.Buffer
	if err := WriteInterleaved(&b, want, channels); err != nil {
		t.Fatal(err)
	}
	v, err := ReadVoxels(t.Context(), NewSource(&b, -1), imaging.Int32, n*channels, false)
	if err != nil {
		t.Fatal(err)
	}
	stored := v.(imaging.Samples[int32])
	if stored[0] != want[0] || stored[1] != want[n] || stored[3] != want[1] {
		t.Errorf("stored as %v…", stored[:4])
	}
	got := GatherChannels(v, [3]int{n, 1, 1}, channels, func(c int) int { return c }, [3]int{channels, 1, 1})
	if !slices.Equal(got.(imaging.Samples[int32]), want) {
		t.Error("not the same after gathering")
	}
}

func TestGatherReordersAndFlips(t *testing.T) {
	src := []int{0, 1, 2, 3, 4, 5} // 3 × 2 × 1
	dst := make([]int, 6)
	Gather(dst, src, [3]int{2, 3, 1}, 5, [3]int{-3, -1, 6}) // axes exchanged, both backwards
	if want := []int{5, 2, 4, 1, 3, 0}; !slices.Equal(dst, want) {
		t.Errorf("%v, want %v", dst, want)
	}
}

func gzipped(t *testing.T, parts ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, p := range parts {
		w := gzip.NewWriter(&b)
		if _, err := w.Write(p); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// How a gzip stream may end: exactly, in further members, padded; and how not.
func TestEndOfGzip(t *testing.T) {
	want, data := ramp(1000)
	whole := gzipped(t, data)
	corrupt := bytes.Clone(whole)
	corrupt[len(corrupt)-5] ^= 1
	for _, tt := range []struct {
		name string
		file []byte
		ok   bool
	}{
		{"exact", whole, true},
		{"several members", gzipped(t, data[:1234], data[1234:]), true},
		{"padded with zeros", append(bytes.Clone(whole), make([]byte, 512)...), true},
		{"padded with three bytes", append(bytes.Clone(whole), 1, 2, 3), true},
		{"padded with text", append(bytes.Clone(whole), "signed by somebody"...), true},
		{"a further member cut in its header", append(bytes.Clone(whole), 0x1f, 0x8b, 8, 0), false},
		{"a further member that is none", append(bytes.Clone(whole), "\x1f\x8bno gzip header"...), false},
		{"a further member cut in its data", append(bytes.Clone(whole), whole[:len(whole)/2]...), false},
		{"an empty member between", gzipped(t, data[:1000], nil, data[1000:]), true},
		{"more data behind", gzipped(t, append(bytes.Clone(data), 1, 2, 3)), true},
		{"cut in the checksum", whole[:len(whole)-5], false},
		{"wrong checksum", corrupt, false},
		{"cut in the voxels", whole[:len(whole)/2], false},
	} {
		s, err := NewSource(bytes.NewReader(tt.file), int64(len(tt.file))).Unzip()
		if err != nil {
			t.Fatal(err)
		}
		v, err := ReadVoxels(t.Context(), s, imaging.Int32, len(want), false)
		if err == nil {
			err = s.Finish()
		}
		if tt.ok != (err == nil) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if tt.ok && !slices.Equal(v.(imaging.Samples[int32]), want) {
			t.Errorf("%s: wrong voxels", tt.name)
		}
		if !tt.ok && (fault.KindOf(err) != fault.Invalid || !errors.Is(err, imaging.ErrFormat)) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// A device that fails is not a short file, and its path is nobody's business.
func TestReadFailures(t *testing.T) {
	broken := errors.New("medium error")
	s := NewSource(io.MultiReader(bytes.NewReader(make([]byte, 10)), iotest.ErrReader(broken)), -1)
	_, err := ReadVoxels(t.Context(), s, imaging.Uint8, 20, false)
	if !errors.Is(err, broken) || !errors.Is(err, imaging.ErrFormat) {
		t.Errorf("%v", err)
	}
	if err := s.Empty(); err == nil {
		t.Error("a broken stream is not empty")
	}
}

func TestWithNameKeepsKindAndCause(t *testing.T) {
	err := WithName(fmt.Errorf("outer: %w", TooLarge("%d voxels", 7)), "read", "a.nii")
	if msg, _ := fault.Message(err); msg != "cannot read a.nii: 7 voxels" || fault.KindOf(err) != fault.TooLarge || !errors.Is(err, imaging.ErrLimit) {
		t.Errorf("%q, %v", msg, err)
	}
	secret := errors.New("open /home/x/a.nii: strange")
	err = WithName(secret, "read", "a.nii")
	if msg, _ := fault.Message(err); msg != "cannot read a.nii" || fault.KindOf(err) != fault.Invalid || !errors.Is(err, secret) {
		t.Errorf("%q, %v", msg, err)
	}
	if WithName(nil, "read", "a.nii") != nil {
		t.Error("no error became one")
	}
}
