package ort

/*
#include <stdlib.h>

#ifdef __GLIBC__
#include <malloc.h>

// Blocks of a mebibyte and more get pages of their own, which return to the
// system when they are freed. By default glibc raises that limit up to 32 MiB
// as blocks are freed, and tensors then fragment its heap.
static void limit_heap(void) { mallopt(M_MMAP_THRESHOLD, 1 << 20); }
static void trim_heap(void) { malloc_trim(0); }
#else
static void limit_heap(void) {}
static void trim_heap(void) {}
#endif
*/
import "C"

// limitHeap makes the C library give the memory of tensors and weights back
// to the system; once per process, before the library is loaded. Without
// glibc (macOS, musl), which keeps less to itself, it does nothing.
func limitHeap() { C.limit_heap() }

// trimHeap gives the C heap's free pages back to the system.
func trimHeap() { C.trim_heap() }
