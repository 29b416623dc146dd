package codec_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/testkit"
)

// unu runs teem's NRRD tool, the format's own implementation.
func unu(t *testing.T, args ...string) []byte {
	t.Helper()
	tool, err := exec.LookPath("unu")
	if err != nil {
		tool = testkit.NeedTool(t, "teem-unu", "run `make test-deps` (Debian package teem-apps)")
	}
	cmd := exec.CommandContext(t.Context(), tool, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("unu %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}

// teemReads lets teem read a file; it returns the fields and the values of its
// text output, in stored order.
func teemReads(t *testing.T, path string) (map[string]string, []float64) {
	t.Helper()
	head, body, ok := strings.Cut(string(unu(t, "save", "-f", "nrrd", "-e", "ascii", "-i", path)), "\n\n")
	if !ok {
		t.Fatalf("teem wrote no header: %.200q", head)
	}
	fields := map[string]string{}
	for line := range strings.Lines(head) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			fields[k] = v
		}
	}
	words := strings.Fields(body)
	values := make([]float64, len(words))
	for i, w := range words {
		f, err := strconv.ParseFloat(w, 64)
		if err != nil {
			t.Fatal(err)
		}
		values[i] = f
	}
	return fields, values
}

// lpsVector is column j of a RAS affine in LPS, parsed from teem's text.
func lpsVector(t *testing.T, text string) (v [3]float64) {
	t.Helper()
	if n, err := fmt.Sscanf(text, "(%g,%g,%g)", &v[0], &v[1], &v[2]); n != 3 {
		t.Fatalf("%q: %v", text, err)
	}
	return v
}

func TestTeemReadsWhatWeWrite(t *testing.T) {
	dir := t.TempDir()
	names := map[imaging.DataType]string{
		imaging.Uint8: "unsigned char", imaging.Int8: "signed char", imaging.Uint16: "unsigned short", imaging.Int16: "short",
		imaging.Uint32: "unsigned int", imaging.Int32: "int", imaging.Uint64: "unsigned long long int",
		imaging.Int64: "long long int", imaging.Float32: "float", imaging.Float64: "double",
	}
	for dt := imaging.Uint8; dt <= imaging.Float64; dt++ {
		for channels, compress := range map[int]bool{1: true, 3: false} {
			t.Run(fmt.Sprintf("%s×%d", dt, channels), func(t *testing.T) {
				v := numbered(imaging.Grid{Size: [3]int{5, 4, 3}, Affine: sheared}, channels, dt)
				path := filepath.Join(dir, fmt.Sprintf("%s%d.nrrd", dt, channels))
				writeFile(t, path, v, codec.WriteOptions{Compress: compress})
				fields, values := teemReads(t, path)
				if fields["type"] != names[dt] || fields["space"] != "left-posterior-superior" {
					t.Errorf("type %q, space %q", fields["type"], fields["space"])
				}
				checkTeem(t, v, fields, values)
			})
		}
	}
}

func checkTeem(t *testing.T, v *imaging.Volume, fields map[string]string, values []float64) {
	t.Helper()
	vectors := strings.Fields(fields["space directions"])
	wantSizes, wantKinds := "5 4 3", "domain domain domain"
	if v.Channels > 1 {
		wantSizes, wantKinds = fmt.Sprint(v.Channels, " ", wantSizes), "list "+wantKinds
		if vectors[0] != "none" {
			t.Errorf("directions %q do not start with none", vectors)
		}
		vectors = vectors[1:]
	}
	if fields["sizes"] != wantSizes || fields["kinds"] != wantKinds {
		t.Errorf("sizes %q, kinds %q", fields["sizes"], fields["kinds"])
	}
	for j, text := range append(vectors, fields["space origin"]) {
		got, a := lpsVector(t, text), v.Affine
		if got != [3]float64{-a[0][j], -a[1][j], a[2][j]} {
			t.Errorf("column %d is %v in LPS, the affine is %v", j, got, a)
		}
	}
	if len(values) != v.Data.Len() {
		t.Fatalf("teem read %d of %d values", len(values), v.Data.Len())
	}
	for i, f := range values { // stored with the channel fastest
		if voxel, c := i/v.Channels, i%v.Channels; f != v.Data.At(c*v.Voxels()+voxel) {
			t.Fatalf("voxel %d of channel %d is %g", voxel, c, f)
		}
	}
}

func TestReadsWhatTeemWrites(t *testing.T) {
	src := testkit.Shared(t, "data", "nrrd_pyradiomics", "breast1_image.nrrd")
	want, err := codec.Read(t.Context(), src, codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	sum, weighted := checksums(want)
	dir := t.TempDir()
	for _, encoding := range []string{"raw", "gzip", "bzip2", "hex", "ascii"} {
		for _, endian := range []string{"little", "big"} {
			if encoding == "ascii" && endian == "big" {
				continue // teem prints byte-swapped numbers
			}
			for _, ext := range []string{".nrrd", ".nhdr"} {
				name := encoding + "-" + endian + ext
				t.Run(name, func(t *testing.T) {
					path := filepath.Join(dir, name)
					unu(t, "save", "-f", "nrrd", "-e", encoding, "-en", endian, "-i", src, "-o", path)
					v, err := codec.Read(t.Context(), path, codec.Limits{})
					if err != nil {
						t.Fatal(err)
					}
					if s, w := checksums(v); v.Grid != want.Grid || s != sum || w != weighted {
						t.Errorf("grid %v, sums %g %g; want %v, %g %g", v.Grid, s, w, want.Grid, sum, weighted)
					}
				})
			}
		}
	}
}

// Every type as teem converts and stores it, big-endian.
func TestReadsTeemsTypes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "in.nrrd")
	v := numbered(imaging.Grid{Size: [3]int{5, 4, 3}, Affine: affines["oblique"]}, 1, imaging.Uint8)
	writeFile(t, path, v, codec.WriteOptions{})
	_, weighted := checksums(v)
	for teem, dt := range map[string]imaging.DataType{
		"int8": imaging.Int8, "uchar": imaging.Uint8, "short": imaging.Int16, "ushort": imaging.Uint16, "int": imaging.Int32,
		"uint": imaging.Uint32, "longlong": imaging.Int64, "ulonglong": imaging.Uint64, "float": imaging.Float32, "double": imaging.Float64,
	} {
		t.Run(teem, func(t *testing.T) {
			raw, out := filepath.Join(dir, dt.String()+".raw.nrrd"), filepath.Join(dir, dt.String()+".nrrd")
			if err := os.WriteFile(raw, unu(t, "convert", "-t", teem, "-i", path), 0o600); err != nil {
				t.Fatal(err)
			}
			unu(t, "save", "-f", "nrrd", "-en", "big", "-i", raw, "-o", out)
			got, err := codec.Read(t.Context(), out, codec.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if _, w := checksums(got); got.Data.Type() != dt || w != weighted {
				t.Errorf("%s with weighted sum %g, want %s with %g", got.Data.Type(), w, dt, weighted)
			}
		})
	}
}
