package trainers

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapped returns n zeros of a number type in memory of the system's own: it
// neither sets the pace of the collector nor waits for it to go back.
func mapped[T float32 | uint16](n int) (values []T, memory []byte, err error) {
	if n == 0 {
		return nil, nil, nil
	}
	var one T
	memory, err = unix.Mmap(-1, 0, n*int(unsafe.Sizeof(one)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, nil, err
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(memory))), n), memory, nil //nolint:gosec // page-aligned, n values long
}

func unmap(memory []byte) {
	if len(memory) > 0 {
		_ = unix.Munmap(memory) // it was mapped above: there is nothing to be done about an error
	}
}
