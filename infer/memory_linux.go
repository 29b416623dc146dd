package infer

import "golang.org/x/sys/unix"

// mapMemory returns n zero bytes outside the garbage collector's heap, in huge
// pages where the system has them.
func mapMemory(n int) ([]byte, error) {
	m, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	_ = unix.Madvise(m, unix.MADV_HUGEPAGE) // only a wish
	return m, nil
}

// unmapMemory gives back what mapMemory returned.
func unmapMemory(m []byte) {
	_ = unix.Munmap(m) // fails for foreign addresses only
}
