package nrrd

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec/raw"
)

// maxHeader bounds the text before the voxels; segmentations with hundreds of
// segments need some 100 KiB.
const maxHeader = 4 << 20

const magicPrefix = "NRRD00"

// Match reports whether the first bytes of a file are NRRD's magic.
func Match(head []byte) bool { return bytes.HasPrefix(head, []byte(magicPrefix)) }

// KeyValue is one "key:=value" line of a header, unescaped.
type KeyValue struct{ Key, Value string }

// Meta is what a header says beyond the volume. Handed back to Write, its pairs,
// content and axes are written again.
type Meta struct {
	Version   int        // 1 to 5, the digit of the magic
	Space     string     // as written; empty when absent
	Encoding  string     // as written, in lower case
	BigEndian bool       // byte order of the file; we always write little-endian
	Files     int        // data files beside a detached header; 0 for an attached one
	Content   string     // the field of that name
	Axes      []raw.Axis // beyond space, which make the channels, the first fastest
	Pairs     []KeyValue // in the order of the file

	// Problems are oddities that did not hinder reading.
	Problems []string
}

// Channel returns the channel of a volume with the entry index along Axes.
// Errors are Invalid.
func (m Meta) Channel(index ...int) (int, error) { return raw.ChannelOf(m.Axes, index...) }

// Get returns the value of the first pair with the given key.
func (m Meta) Get(key string) (string, bool) {
	for _, p := range m.Pairs {
		if p.Key == key {
			return p.Value, true
		}
	}
	return "", false
}

// header is the parsed text of a header.
type header struct {
	meta   Meta
	fields map[string]string // by canonical name

	typ      imaging.DataType
	sizes    []int
	encoding string
	big      bool
	lineSkip int64
	byteSkip int64    // -1: the voxels are the last bytes
	list     []string // the lines behind "data file: LIST"
	files    dataFiles
}

// typeNames lists every spelling of the format's scalar types.
var typeNames = map[string]imaging.DataType{
	"signed char": imaging.Int8, "int8": imaging.Int8, "int8_t": imaging.Int8,
	"uchar": imaging.Uint8, "unsigned char": imaging.Uint8, "uint8": imaging.Uint8, "uint8_t": imaging.Uint8,
	"short": imaging.Int16, "short int": imaging.Int16, "signed short": imaging.Int16, "signed short int": imaging.Int16,
	"int16": imaging.Int16, "int16_t": imaging.Int16,
	"ushort": imaging.Uint16, "unsigned short": imaging.Uint16, "unsigned short int": imaging.Uint16,
	"uint16": imaging.Uint16, "uint16_t": imaging.Uint16,
	"int": imaging.Int32, "signed int": imaging.Int32, "int32": imaging.Int32, "int32_t": imaging.Int32,
	"uint": imaging.Uint32, "unsigned int": imaging.Uint32, "uint32": imaging.Uint32, "uint32_t": imaging.Uint32,
	"longlong": imaging.Int64, "long long": imaging.Int64, "long long int": imaging.Int64, "signed long long": imaging.Int64,
	"signed long long int": imaging.Int64, "int64": imaging.Int64, "int64_t": imaging.Int64,
	"ulonglong": imaging.Uint64, "unsigned long long": imaging.Uint64, "unsigned long long int": imaging.Uint64,
	"uint64": imaging.Uint64, "uint64_t": imaging.Uint64,
	"float": imaging.Float32, "double": imaging.Float64,
}

// readHeader reads and parses the text; the stream then stands behind the
// blank line, or at its end for a detached header.
func readHeader(s *raw.Source) (*header, error) {
	lines := &lineReader{s: s}
	magic, err := lines.next()
	if err != nil {
		return nil, err
	}
	h := &header{fields: map[string]string{}}
	if h.meta.Version, err = version(magic); err != nil {
		return nil, err
	}
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) && h.fields["datafile"] != "" {
			break
		}
		if err != nil {
			return nil, err
		}
		if isList(h.fields["datafile"]) {
			if line = strings.TrimSpace(line); line != "" {
				h.list = append(h.list, line)
			}
			continue
		}
		if line == "" {
			break
		}
		if err := h.add(line); err != nil {
			return nil, err
		}
	}
	return h, h.interpret()
}

func version(magic string) (int, error) {
	switch digits, ok := strings.CutPrefix(magic, magicPrefix); {
	case !ok:
		return 0, raw.Malformed("it does not start with the NRRD magic")
	case digits == ".01":
		return 1, nil
	case len(digits) == 2 && digits[0] == '0' && digits[1] >= '1' && digits[1] <= '5':
		return int(digits[1] - '0'), nil
	}
	return 0, raw.Malformed("the NRRD version %q is not one of NRRD0001 to NRRD0005", magic)
}

// add takes one line: a comment, a key:=value pair or a field.
func (h *header) add(line string) error {
	if line[0] == '#' {
		return nil
	}
	pair, field := strings.Index(line, ":="), strings.Index(line, ": ")
	if pair >= 0 && (field < 0 || pair < field) {
		h.meta.Pairs = append(h.meta.Pairs, KeyValue{unescape(line[:pair]), unescape(line[pair+2:])})
		return nil
	}
	name, value, ok := strings.Cut(line, ":")
	if !ok {
		return raw.Malformed("the NRRD header line %.40q is neither a field nor a key:=value pair", line)
	}
	name, value = canonical(name), strings.TrimSpace(value)
	if old, seen := h.fields[name]; seen && old != value {
		return raw.Malformed("the NRRD field %q appears twice with different values", name)
	}
	h.fields[name] = value
	return nil
}

// canonical drops case and blanks: "Data File", "data file" and "datafile" are
// one field.
func canonical(name string) string {
	return strings.ToLower(strings.Join(strings.Fields(name), ""))
}

var (
	unescaper = strings.NewReplacer(`\\`, `\`, `\n`, "\n")
	escaper   = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", "")
)

func unescape(s string) string { return unescaper.Replace(s) }

// interpret checks the fields that describe the voxels.
func (h *header) interpret() error {
	h.meta.Space = h.fields["space"]
	t := strings.ToLower(strings.Join(strings.Fields(h.fields["type"]), " "))
	if h.typ = typeNames[t]; h.typ == imaging.Unknown {
		return raw.Malformed("the NRRD type %q is not supported", h.fields["type"])
	}
	if err := h.interpretSizes(); err != nil {
		return err
	}
	h.encoding = strings.ToLower(h.fields["encoding"])
	switch e := strings.ToLower(h.fields["endian"]); e {
	case "big":
		h.big = true
	case "little":
	case "":
		if h.typ.Size() > 1 && !isText(h.encoding) {
			return raw.Malformed("the NRRD field \"endian\" is missing, but its voxels have %d bytes", h.typ.Size())
		}
	default:
		return raw.Malformed("the NRRD endian %q is neither little nor big", e)
	}
	var err error
	if h.lineSkip, err = h.skip("lineskip", 0); err != nil {
		return err
	}
	if h.byteSkip, err = h.skip("byteskip", -1); err != nil {
		return err
	}
	h.meta.Encoding, h.meta.BigEndian, h.meta.Content = h.encoding, h.big, h.fields["content"]
	return h.parseDataFile()
}

func isText(encoding string) bool {
	return encoding == "ascii" || encoding == "text" || encoding == "txt"
}

// maxAxes is the format's limit.
const maxAxes = 16

func (h *header) interpretSizes() error {
	n, err := strconv.Atoi(h.fields["dimension"])
	if err != nil || n < 1 || n > maxAxes {
		return raw.Malformed("the NRRD dimension %q is not a number from 1 to %d", h.fields["dimension"], maxAxes)
	}
	parts := strings.Fields(h.fields["sizes"])
	if len(parts) != n {
		return raw.Malformed("the NRRD header has %d sizes for %d axes", len(parts), n)
	}
	for _, p := range parts {
		size, err := strconv.Atoi(p)
		if err != nil || size < 1 {
			return raw.Malformed("the NRRD size %q is not a positive number", p)
		}
		h.sizes = append(h.sizes, size)
	}
	return nil
}

func (h *header) skip(name string, least int64) (int64, error) {
	text, ok := h.fields[name]
	if !ok {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least {
		return 0, raw.Malformed("the NRRD field %q is %q, %d is the least", name, text, least)
	}
	return n, nil
}

// lineReader reads header lines, ended by LF or CRLF, within maxHeader.
type lineReader struct {
	s    *raw.Source
	used int
}

// next returns a line without its end. At the end of the stream the last line
// counts even without a line end; after it comes io.EOF wrapped in a fault.
func (l *lineReader) next() (string, error) {
	var b []byte
	for {
		c, err := l.s.ReadByte()
		if err != nil {
			if len(b) > 0 && errors.Is(err, io.EOF) {
				break
			}
			return "", raw.ReadFailure(err, "the NRRD header")
		}
		if l.used++; l.used > maxHeader {
			return "", raw.Malformed("the NRRD header is longer than %d bytes", maxHeader)
		}
		if c == '\n' {
			break
		}
		b = append(b, c)
	}
	return strings.TrimSuffix(string(b), "\r"), nil
}
