package dataset

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
)

// Nothing of an archive leaves its place, grows beyond its bounds or follows a
// link, and an archive that is damaged makes no studies folder.
func TestHostileArchives(t *testing.T) {
	set, err := Find("decathlon-layout")
	if err != nil {
		t.Fatal(err)
	}
	good := []entry{
		{name: "imagesTr/x.nii.gz", data: grey(t)},
		{name: "labelsTr/x.nii.gz", data: classes(t, 2)},
		{name: "dataset.json", data: []byte(twoClasses)},
	}
	with := func(e ...entry) []entry { return append(append([]entry{}, e...), good...) }
	whole := tarOf(t, good...)
	zipped := zipOf(t, good...)
	secret := file(t, "secret", grey(t))
	tests := []struct {
		name    string
		archive []byte
		lim     Limits
		kind    fault.Kind
		word    string // "": the archive is used
	}{
		{"climbs", tarOf(t, with(entry{name: "../imagesTr/y.nii.gz", data: grey(t)})...), Limits{}, fault.Invalid, "leads out of it"},
		{"climbs in the middle", tarOf(t, with(entry{name: "a/../../imagesTr/y.nii.gz", data: grey(t)})...), Limits{}, fault.Invalid, "leads out of it"},
		{"absolute", tarOf(t, with(entry{name: "/tmp/imagesTr/y.nii.gz", data: grey(t)})...), Limits{}, fault.Invalid, "leads out of it"},
		{"backslashes", zipOf(t, with(entry{name: `..\imagesTr\y.nii.gz`, data: grey(t)})...), Limits{}, fault.Invalid, "leads out of it"},
		{"climbs in a zip", zipOf(t, with(entry{name: "../../imagesTr/y.nii.gz", data: grey(t)})...), Limits{}, fault.Invalid, "leads out of it"},
		{"links are passed over", tarOf(t, with(
			entry{name: "imagesTr/y.nii.gz", flag: tar.TypeSymlink, data: []byte(secret)},
			entry{name: "labelsTr/y.nii.gz", flag: tar.TypeLink, data: []byte("labelsTr/x.nii.gz")},
			entry{name: "imagesTr/z.nii.gz", flag: tar.TypeFifo})...), Limits{}, 0, ""},
		{"folder that is a link", tarOf(t, with(entry{name: "labelsTr", flag: tar.TypeSymlink, data: []byte("/etc")})...), Limits{}, 0, ""},
		{"two files of one name", tarOf(t, with(entry{name: "b/imagesTr/x.nii.gz", data: grey(t)})...), Limits{}, fault.Conflict, "two files for one purpose"},
		{"two descriptions", tarOf(t, with(entry{name: "b/dataset.json", data: []byte(twoClasses)})...), Limits{}, fault.Conflict, "two files for one purpose"},
		{"too many members", whole, Limits{Members: 2}, fault.TooLarge, "more than 2 members"},
		{"too large", whole, Limits{Unpacked: 300}, fault.TooLarge, "at most 300 bytes"},
		{"too large in a zip", zipped, Limits{Unpacked: 300}, fault.TooLarge, "at most 300 bytes"},
		{"bomb", bombZip(t, 3<<30), Limits{}, fault.TooLarge, "50 times its own size"},
		{"lies about its size", lyingZip(t), Limits{}, fault.Invalid, "cannot be read"},
		{"cut off", whole[:600], Limits{}, fault.Invalid, "is cut off"},
		{"cut off between members", whole[:len(whole)-1024], Limits{}, fault.Invalid, "is cut off"},
		{"without its last block", whole[:len(whole)-512], Limits{}, 0, ""},
		{"cut off in gzip", gzipOf(t, whole)[:400], Limits{}, fault.Invalid, "is cut off"},
		{"cut off zip", zipped[:len(zipped)-30], Limits{}, fault.Invalid, "cannot be read"},
		{"flipped byte in a zip", flip(zipped, 200), Limits{}, fault.Invalid, "cannot be read"},
		{"flipped byte in a tar's header", flip(whole, 10), Limits{}, fault.Invalid, "cannot be read"},
		{"no archive", []byte(strings.Repeat("hello ", 100)), Limits{}, fault.Invalid, "neither tar, tar.gz nor zip"},
		{"empty", nil, Limits{}, fault.Invalid, "neither tar, tar.gz nor zip"},
		{"another archive", tarOf(t, entry{name: "readme.txt", data: []byte("hello")}), Limits{}, fault.Invalid, "is it the right archive"},
		{"image beyond memory", whole, Limits{Volume: 100}, fault.Invalid, "more than the 100 bytes allowed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			o := Options{Out: filepath.Join(dir, "a", "out"), From: file(t, "a.bin", tt.archive), Limits: tt.lim}
			if err := os.Mkdir(filepath.Join(dir, "a"), 0o755); err != nil {
				t.Fatal(err)
			}
			r, _, err := Fetch(t.Context(), set, o)
			if tt.word == "" {
				if err != nil || len(r.Cases) != 1 || len(r.LeftOut) != 0 {
					t.Errorf("%+v, %v", r, err)
				}
				return
			}
			fails(t, err, tt.kind, tt.word)
			absent(t, o.Out)
			for name := range tree(t, dir) {
				if !strings.HasPrefix(name, "a/out.fetch/") {
					t.Errorf("a file outside: %s", name)
				}
			}
		})
	}
}

func flip(data []byte, at int) []byte {
	out := bytes.Clone(data)
	out[at] ^= 0x55
	return out
}

// bombZip is a zip of few bytes whose member declares n zeros.
func bombZip(t *testing.T, n uint64) []byte {
	t.Helper()
	return rawZip(t, n, make([]byte, 100))
}

// lyingZip holds more bytes than its member declares.
func lyingZip(t *testing.T) []byte {
	t.Helper()
	return rawZip(t, 10, make([]byte, 1<<20))
}

func rawZip(t *testing.T, declared uint64, data []byte) []byte {
	t.Helper()
	var packed, b bytes.Buffer
	f, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(&b)
	w, err := z.CreateRaw(&zip.FileHeader{
		Name: "imagesTr/x.nii.gz", Method: zip.Deflate, CRC32: crc32.ChecksumIEEE(data),
		CompressedSize64: uint64(packed.Len()), UncompressedSize64: declared,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, &packed); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// No member writes more or less than it declares.
func TestWriteMember(t *testing.T) {
	for n, word := range map[int64]string{4: "more bytes than it declares", 6: "unexpected EOF"} {
		m := member{name: "m", size: n, open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("12345")), nil }}
		if err := writeMember(t.Context(), m, filepath.Join(t.TempDir(), "m")); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%d bytes are declared, 5 are there: %v", n, err)
		}
	}
}

// An encrypted zip says what to do.
func TestEncryptedZip(t *testing.T) {
	data := zipOf(t, entry{name: "imagesTr/x.nii.gz", data: grey(t)})
	central := bytes.LastIndex(data, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint16(data[central+8:], binary.LittleEndian.Uint16(data[central+8:])|1)
	set, err := Find("decathlon-layout")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = fetchFrom(t, set, data, Options{})
	fails(t, err, fault.Invalid, "encrypted", "--from")
}
