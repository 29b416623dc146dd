package nrrd

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
)

func TestPatterns(t *testing.T) {
	for _, tt := range []struct {
		field string
		want  string // the names, or part of the error
		ok    bool
	}{
		{"s%03d.raw 1 3 1", "s001.raw s002.raw s003.raw", true},
		{"s%d.raw 8 12 2", "s8.raw s10.raw s12.raw", true},
		{"s%d.raw 8 13 2", "s8.raw s10.raw s12.raw", true},
		{"./s%02i.raw 3 1 -1", "s03.raw s02.raw s01.raw", true},
		{"%u 0 2 1", "0 1 2", true},
		{"s%3d 1 3 1", "s  1 s  2 s  3", true},
		{"s%d.raw 1 3 1 2", "s1.raw s2.raw s3.raw", true},
		{"s%d.raw 1 3 0", "steps of 0", false},
		{"s%d.raw 3 1 1", "from 3 to 1", false},
		{"s%d.raw 1 3 -1", "from 1 to 3", false},
		{"s%d.raw 0 99999 1", "100000 data files", false},
		{"s%d.raw 1 99999999999999999999 1", "number is needed", false},
		{"s%d.raw 1 3 1 9", "9 dimensions", false},
		{"s%d.raw 1 3 1 x", "positive number", false},
		{"a/s%d.raw 1 3 1", "plain name", false},
		{"s%d.raw 1 4 1", "names 4 data files where its sizes need 3", false},
		{"s%d.raw 1 2 1 3", "cannot share an axis of 3", false},
	} {
		h := &header{fields: map[string]string{"datafile": tt.field}, sizes: []int{2, 2, 3}}
		err := h.parseDataFile()
		var names []string
		for i := range h.files.count() {
			names = append(names, h.files.name(i))
		}
		if tt.ok && (err != nil || strings.Join(names, " ") != tt.want) {
			t.Errorf("%q: %q, %v", tt.field, names, err)
		}
		if !tt.ok {
			if msg, _ := fault.Message(err); !strings.Contains(msg, tt.want) {
				t.Errorf("%q: %v", tt.field, err)
			}
		}
	}
}

// folder is a header's folder in memory.
type folder map[string][]byte

func (f folder) open(name string) (*raw.Source, error) {
	b, ok := f[name]
	if !ok {
		return nil, fault.New(fault.NotFound, "the file does not exist")
	}
	return raw.NewSource(bytes.NewReader(b), int64(len(b))), nil
}

func (f folder) read(ctx context.Context, header string) (*imaging.Volume, error) {
	source := func() *raw.Source {
		s := raw.NewSource(strings.NewReader(header), int64(len(header)))
		s.SetOpener(f.open)
		return s
	}
	v, _, err := ReadWithMeta(ctx, source(), raw.Limits{})
	if checkErr := Check(ctx, source(), raw.Limits{}); fmt.Sprint(checkErr) != fmt.Sprint(err) {
		return v, fmt.Errorf("reading says %w, checking %w", err, checkErr)
	}
	return v, err
}

func zip(b []byte) []byte {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write(b) // into memory
	_ = w.Close()
	return z.Bytes()
}

// Twelve voxels in several files, in every encoding, whole and with what is to
// be skipped.
func TestSeveralDataFiles(t *testing.T) {
	slice := func(i int) []byte { return []byte{byte(4*i + 1), byte(4*i + 2), byte(4*i + 3), byte(4*i + 4)} }
	text := func(i int) []byte { return fmt.Appendf(nil, "%d %d\n%d %d", 4*i+1, 4*i+2, 4*i+3, 4*i+4) }
	head := "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 2 3\n"
	for _, tt := range []struct {
		name, fields string
		file         func(i int) []byte
	}{
		{"raw", "encoding: raw\n", slice},
		{"raw, skipping", "encoding: raw\nline skip: 1\nbyte skip: 2\n", func(i int) []byte { return append([]byte("line\n##"), slice(i)...) }},
		{"raw, at the end", "encoding: raw\nbyte skip: -1\n", func(i int) []byte { return append([]byte("anything"), slice(i)...) }},
		{"raw, more behind", "encoding: raw\n", func(i int) []byte { return append(slice(i), "more"...) }},
		{"gzip", "encoding: gzip\n", func(i int) []byte { return zip(slice(i)) }},
		{"gzip, at the end", "encoding: gzip\nbyte skip: -1\n", func(i int) []byte { return zip(append([]byte("anything"), slice(i)...)) }},
		{"hex", "encoding: hex\n", func(i int) []byte { return fmt.Appendf(nil, "%x\n", slice(i)) }},
		{"ascii", "encoding: ascii\n", text},
		{"ascii, more behind", "encoding: ascii\n", func(i int) []byte { return append(text(i), " 99 98"...) }},
	} {
		f := folder{"s1": tt.file(0), "s2": tt.file(1), "s3": tt.file(2)}
		for _, where := range []string{"data file: s%d 1 3 1\n", "data file: s%d 1 3 1 2\n", "data file: s%d 1 3 1 3\n", "data file: LIST\ns1\n\n ./s2\r\ns3", "datafile: LIST 2\ns1\ns2\ns3\n"} {
			v, err := f.read(t.Context(), head+tt.fields+where)
			if err != nil {
				t.Errorf("%s, %q: %v", tt.name, where, err)
				continue
			}
			if !slices.Equal(v.Data.(imaging.Samples[uint8]), []uint8{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}) {
				t.Errorf("%s, %q: %v", tt.name, where, v.Data)
			}
		}
		f["s2"] = f["s2"][:len(f["s2"])-2]
		if strings.Contains(tt.name, "more") {
			f["s2"] = f["s2"][:3]
		}
		if tt.name == "raw, at the end" {
			f["s2"] = f["s2"][:3]
		}
		if _, err := f.read(t.Context(), head+tt.fields+"data file: s%d 1 3 1\n"); fault.KindOf(err) != fault.Invalid || !strings.Contains(fmt.Sprint(err), `"s2"`) {
			t.Errorf("%s, the second file cut: %v", tt.name, err)
		}
		f["s2"] = tt.file(1)
		delete(f, "s3")
		if _, err := f.read(t.Context(), head+tt.fields+"data file: s%d 1 3 1\n"); !strings.Contains(fmt.Sprint(err), `"s3" is missing`) {
			t.Errorf("%s, the third file missing: %v", tt.name, err)
		}
	}
}

// Files of fewer dimensions: every row in its own file.
func TestDataFilesOfRows(t *testing.T) {
	f := folder{"r1": {1, 2}, "r2": {3, 4}, "r3": {5, 6}, "r4": {7, 8}}
	v, err := f.read(t.Context(), "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 2 2\nencoding: raw\ndata file: r%d 1 4 1 1\n")
	if err != nil || !slices.Equal(v.Data.(imaging.Samples[uint8]), []uint8{1, 2, 3, 4, 5, 6, 7, 8}) {
		t.Errorf("%v, %v", v, err)
	}
}

// A file that is named again and again would make any amount of voxels of a few
// bytes.
func TestDataFileNamedTwice(t *testing.T) {
	f := folder{"a": {1, 2}, "b": {3, 4}}
	head := "NRRD0004\ntype: uchar\ndimension: 2\nsizes: 2 3\nencoding: raw\ndata file: LIST\n"
	for _, names := range []string{"a\nb\na\n", "a\nb\n./a\n"} {
		if _, err := f.read(t.Context(), head+names); fault.KindOf(err) != fault.Invalid || !strings.Contains(fmt.Sprint(err), `names the data file "a" twice`) {
			t.Errorf("%q: %v", names, err)
		}
	}
}

// A symbolic link in the header's folder does not open what lies elsewhere.
func TestLinksStayInTheirFolder(t *testing.T) {
	dir := t.TempDir()
	studies := filepath.Join(dir, "studies")
	if err := os.Mkdir(studies, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{filepath.Join(dir, "secret"), filepath.Join(studies, "inside")} {
		if err := os.WriteFile(p, []byte("ab"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"out": "../secret", "absolute": filepath.Join(dir, "secret"), "in": "inside", "loop": "loop", "up": "."} {
		if err := os.Symlink(to, filepath.Join(studies, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, ok := range map[string]bool{"inside": true, "in": true, "out": false, "absolute": false, "loop": false, "up": false} {
		head := "NRRD0004\ntype: uchar\ndimension: 1\nsizes: 2\nencoding: raw\ndata file: " + name + "\n"
		s := raw.NewSource(strings.NewReader(head), int64(len(head)))
		s.SetOpener(func(n string) (*raw.Source, error) { return raw.OpenIn(studies, n) })
		_, err := Read(t.Context(), s, raw.Limits{})
		if ok != (err == nil) || !ok && fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
		if msg, _ := fault.Message(err); strings.Contains(msg, dir) {
			t.Errorf("%s: the message names a folder: %s", name, msg)
		}
	}
}
