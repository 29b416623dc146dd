//go:build !linux

package infer

// mapMemory returns n zero bytes.
func mapMemory(n int) ([]byte, error) { return make([]byte, n), nil }

func unmapMemory([]byte) {}
