package trainers

import (
	"errors"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// diskReserve stays free on the disk of the spilled cases.
const diskReserve = 5 << 30

// spill is where training cases go that have no place in memory: files without
// a name, mapped into memory, whose pages the system takes back when it needs
// them. The disk gets its room back when they are unmapped or the process ends,
// however it ends.
type spill struct {
	dir    string
	budget int64
	used   int64
	free   func(dir string) int64
}

// Spill lets cases beyond the budget lie on the disk of a folder, up to a number
// of bytes; none when that is not positive. The folder, or the nearest one above
// it that is there, must take files; where it does not, cases are prepared anew
// as without Spill. It is called before the first Load.
func (c *Cache) Spill(dir string, bytes int64) {
	if bytes <= 0 {
		return
	}
	for {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			break
		}
		above := filepath.Dir(dir)
		if above == dir {
			return
		}
		dir = above
	}
	c.disk = &spill{dir: dir, budget: bytes, free: freeDisk}
}

// toDisk moves a sample of n bytes to the disk; false where that has no room.
func (c *Cache) toDisk(s *Sample, n int64) (*Sample, bool) {
	c.mu.Lock()
	d := c.disk
	if d == nil || c.closed || n == 0 || d.used+n > d.budget || d.free(d.dir)-n < diskReserve {
		c.mu.Unlock()
		return nil, false
	}
	d.used += n
	c.mu.Unlock()
	memory, err := mappedFile(d.dir, s) // without the lock: other cases go on
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || c.closed {
		d.used -= n
		unmap(memory)
		return nil, false
	}
	c.memory = append(c.memory, memory)
	out := *s
	images := 4 * len(s.Image)
	out.Image = unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(memory))), len(s.Image)) //nolint:gosec // page-aligned, long enough
	if len(s.Labels) > 0 {
		out.Labels = unsafe.Slice((*uint16)(unsafe.Pointer(&memory[images])), len(s.Labels)) //nolint:gosec // even, long enough
	}
	return &out, true
}

// mappedFile writes a sample's voxels, image before labels, to a file that has
// no name any more, and maps it for reading. All of it is written before: a full
// disk is an error here, not a fault at a later access.
func mappedFile(dir string, s *Sample) (memory []byte, err error) {
	f, err := os.CreateTemp(dir, ".voxloop-case-*.tmp")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := os.Remove(f.Name()); err != nil {
		return nil, err
	}
	for _, part := range [][]byte{bytesOf(s.Image), bytesOf(s.Labels)} {
		if _, err := f.Write(part); err != nil {
			return nil, err
		}
	}
	return unix.Mmap(int(f.Fd()), 0, 4*len(s.Image)+2*len(s.Labels), unix.PROT_READ, unix.MAP_SHARED)
}

// bytesOf is the memory of values.
func bytesOf[T float32 | uint16](values []T) []byte {
	var one T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), len(values)*int(unsafe.Sizeof(one))) //nolint:gosec // the slice's own memory
}

// freeDisk returns the bytes that a user may still write; 0 when the system does
// not say.
func freeDisk(dir string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0
	}
	return int64(min(st.Bavail, 1<<40)) * int64(st.Bsize) //nolint:unconvert // Bsize is an int64 on Linux only
}
