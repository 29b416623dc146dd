package trainers

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"math"
	"os"
	"slices"

	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/internal/fault"
)

// A checkpoint file is
//
//	magic (8 bytes), length of the head (uint32),
//	head: one JSON object with the names and lengths of the vectors,
//	the vectors in that order, float32,
//	SHA-256 of all of that (32 bytes),
//
// integers and numbers little-endian.
const checkpointMagic = "VXLCKPT1"

// maxHead bounds the JSON part: a record of a million epochs has room.
const maxHead = 256 << 20

// errDamaged is returned for a checkpoint file that is not whole.
var errDamaged = errors.New("the checkpoint is damaged")

// checkpoint is one file's content: what was told about it, and vectors.
type checkpoint struct {
	head    any // a pointer when reading
	vectors map[string][]float32
}

type headLine struct {
	Vectors []vectorLine    `json:"vectors"`
	State   json.RawMessage `json:"state"`
}

type vectorLine struct {
	Name string `json:"name"`
	Len  int    `json:"len"`
}

// write puts the checkpoint in place of the file at path; after an error the
// earlier file is still there.
func (c checkpoint) write(path string) error {
	state, err := json.Marshal(c.head)
	if err != nil {
		return err
	}
	h := headLine{State: state}
	for _, name := range slices.Sorted(maps.Keys(c.vectors)) {
		h.Vectors = append(h.Vectors, vectorLine{name, len(c.vectors[name])})
	}
	head, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if len(head) > maxHead {
		return fault.New(fault.TooLarge, "the record of the training takes %d bytes; a checkpoint holds at most %d", len(head), maxHead)
	}
	err = atomicfile.Write(path, 0o644, func(w io.Writer) error {
		sum := sha256.New()
		if err := c.body(io.MultiWriter(w, sum), head, h.Vectors); err != nil {
			return err
		}
		_, err := w.Write(sum.Sum(nil))
		return err
	})
	return diskFault(err, "the checkpoint could not be written")
}

func (c checkpoint) body(w io.Writer, head []byte, lines []vectorLine) error {
	start := binary.LittleEndian.AppendUint32([]byte(checkpointMagic), uint32(len(head))) //nolint:gosec // at most maxHead
	if _, err := w.Write(append(start, head...)); err != nil {
		return err
	}
	buf := make([]byte, 0, 1<<16)
	for _, l := range lines {
		for part := range slices.Chunk(c.vectors[l.Name], 1<<14) {
			buf = buf[:0]
			for _, v := range part {
				buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(v))
			}
			if _, err := w.Write(buf); err != nil {
				return err
			}
		}
	}
	return nil
}

// readCheckpoint reads the file at path and decodes its head into state.
// Errors: os.ErrNotExist, errDamaged.
func readCheckpoint(path string, state any) (map[string][]float32, error) {
	f, err := os.Open(path) //nolint:gosec // a file of ours in the work folder
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	r := checkpointReader{r: io.TeeReader(f, sum), sum: sum, left: info.Size()}
	vectors, err := r.read(f, state)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return vectors, nil
}

type checkpointReader struct {
	r    io.Reader
	sum  hash.Hash
	left int64 // bytes of the file that are not read yet: nothing larger is allocated
}

var errShort = errors.New("it ends early")

func (r *checkpointReader) take(n int64) ([]byte, error) {
	if n > r.left {
		return nil, errShort
	}
	r.left -= n
	b := make([]byte, n)
	_, err := io.ReadFull(r.r, b)
	return b, err
}

func (r *checkpointReader) read(f io.Reader, state any) (map[string][]float32, error) {
	start, err := r.take(int64(len(checkpointMagic)) + 4)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(start, []byte(checkpointMagic)) {
		return nil, errors.New("it is no checkpoint of this version")
	}
	head, err := r.take(int64(binary.LittleEndian.Uint32(start[len(checkpointMagic):])))
	if err != nil {
		return nil, err
	}
	var h headLine
	if err := json.Unmarshal(head, &h); err != nil {
		return nil, err
	}
	vectors, err := r.vectors(h.Vectors)
	if err != nil {
		return nil, err
	}
	want := r.sum.Sum(nil)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(f, got); err != nil || r.left != int64(len(want)) || !bytes.Equal(got, want) {
		return nil, errors.New("its checksum does not fit")
	}
	return vectors, json.Unmarshal(h.State, state)
}

func (r *checkpointReader) vectors(lines []vectorLine) (map[string][]float32, error) {
	out := map[string][]float32{}
	for _, l := range lines {
		if l.Len < 0 || int64(l.Len) > r.left/4 {
			return nil, errShort
		}
		raw, err := r.take(int64(l.Len) * 4)
		if err != nil {
			return nil, err
		}
		v := make([]float32, l.Len)
		for i := range v {
			v[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
		out[l.Name] = v
	}
	return out, nil
}
