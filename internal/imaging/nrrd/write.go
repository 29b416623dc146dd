package nrrd

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
)

// WriteOptions tunes Write. The zero value writes raw voxels without pairs.
type WriteOptions struct {
	Compress bool       // encoding gzip instead of raw
	Pairs    []KeyValue // key:=value lines, in this order
	Content  string     // the field of that name; empty for none

	// Axes are the axes beyond space, the first fastest; they stand before the
	// others in the file. Where they do not make the volume's channels, one
	// axis of kind "list" does.
	Axes []raw.Axis
}

// typeSpelling is how ITK names the types.
var typeSpelling = map[imaging.DataType]string{
	imaging.Uint8: "unsigned char", imaging.Int8: "signed char", imaging.Uint16: "unsigned short", imaging.Int16: "short",
	imaging.Uint32: "unsigned int", imaging.Int32: "int", imaging.Uint64: "unsigned long long int",
	imaging.Int64: "long long int", imaging.Float32: "float", imaging.Float64: "double",
}

// Write writes v in the layout of ITK's NRRD files: NRRD0004, space
// left-posterior-superior, vectors without blanks, little-endian. Several
// channels become list axes, which come first (fastest). NRRD has no slope:
// scaled volumes are written as float values. Equal volumes give equal bytes.
//
// Errors: Invalid when the volume breaks its own rules or a pair's key cannot
// be written; errors of w are returned as they are.
func Write(w io.Writer, v *imaging.Volume, o WriteOptions) error {
	if err := v.Validate(); err != nil {
		return raw.Classify(err)
	}
	v = raw.Unscaled(v)
	h, err := encodeHeader(v, o)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, h); err != nil {
		return err
	}
	if !o.Compress {
		return raw.WriteInterleaved(w, v.Data, v.Channels)
	}
	z, err := raw.NewGzipWriter(w)
	if err != nil {
		return err
	}
	if err := raw.WriteInterleaved(z, v.Data, v.Channels); err != nil {
		return err
	}
	return z.Close()
}

func encodeHeader(v *imaging.Volume, o WriteOptions) (string, error) {
	t, ok := typeSpelling[v.Data.Type()]
	if !ok {
		return "", fault.New(fault.Internal, "voxels of type %s cannot be written", v.Data.Type())
	}
	sizes := fmt.Sprintf("%d %d %d", v.Size[0], v.Size[1], v.Size[2])
	dirs := vectorOf(v.Affine, 0) + " " + vectorOf(v.Affine, 1) + " " + vectorOf(v.Affine, 2)
	kinds := "domain domain domain"
	lists := raw.FitAxes(o.Axes, v.Channels)
	if len(lists) > maxAxes-3 {
		lists = []raw.Axis{{Size: v.Channels}}
	}
	for _, a := range slices.Backward(lists) {
		sizes, dirs, kinds = fmt.Sprintf("%d %s", a.Size, sizes), "none "+dirs, listKind(a)+" "+kinds
	}
	var b strings.Builder
	b.WriteString("NRRD0004\n# Complete NRRD file format specification at:\n# http://teem.sourceforge.net/nrrd/format.html\n")
	fmt.Fprintf(&b, "type: %s\ndimension: %d\nspace: left-posterior-superior\nsizes: %s\nspace directions: %s\nkinds: %s\n",
		t, 3+len(lists), sizes, dirs, kinds)
	if content := strings.Join(strings.Fields(o.Content), " "); content != "" {
		fmt.Fprintf(&b, "content: %s\n", content)
	}
	if v.Data.Type().Size() > 1 {
		b.WriteString("endian: little\n")
	}
	encoding := "raw"
	if o.Compress {
		encoding = "gzip"
	}
	fmt.Fprintf(&b, "encoding: %s\nspace origin: %s\n", encoding, vectorOf(v.Affine, 3))
	for _, p := range o.Pairs {
		if p.Key == "" || p.Key[0] == '#' || strings.Contains(p.Key, ":") {
			return "", fault.New(fault.Invalid, "the NRRD key %q is empty, starts with # or holds a colon", p.Key)
		}
		fmt.Fprintf(&b, "%s:=%s\n", escaper.Replace(p.Key), escaper.Replace(p.Value))
	}
	b.WriteByte('\n')
	return b.String(), nil
}

// freeKinds are the kinds that fit any number of entries. "time" is not among
// them: readers take it for an axis in space and miss its direction.
var freeKinds = map[string]bool{"list": true, "vector": true, "point": true, "normal": true, "covariant-vector": true}

// listKind is the kind of an axis beyond space; "list" stands for those that
// NRRD has no word for.
func listKind(a raw.Axis) string {
	if k := strings.ToLower(a.Kind); freeKinds[k] {
		return k
	}
	return "list"
}

// vectorOf formats column j of the RAS affine in LPS. Shortest decimals that
// read back as the same float64.
func vectorOf(a imaging.Affine, j int) string {
	part := make([]string, 3)
	for i, sign := range []float64{-1, -1, 1} {
		part[i] = strconv.FormatFloat(sign*a[i][j]+0, 'g', -1, 64) // +0 makes -0 a plain 0
	}
	return "(" + strings.Join(part, ",") + ")"
}
