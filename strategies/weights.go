package strategies

// weights answers weighted picks over slots in O(log n).
//
// The weight of an open slot is now - ts, where ts is when its image was last
// served (0: never). A sum of weights is therefore count*now - Σts, so two
// Fenwick trees (counts and Σts) give the weights of every moment without
// being touched as time goes by.
//
// Source of the tree: Fenwick, Software: Practice and Experience 24 (1994).
type weights struct {
	count  []int64 // Fenwick tree, 1-based; length is a power of two plus 1
	served []int64 // Fenwick tree of ts
	total  int64   // open slots
	sum    int64   // Σts of the open slots
	latest int64   // largest ts ever seen: time must not run behind it
}

// add changes slot i by n open images and ts seconds.
func (w *weights) add(i int, n, ts int64) {
	if n == 0 && ts == 0 {
		return
	}
	w.grow(i + 1)
	w.total += n
	w.sum += ts
	for j := i + 1; j < len(w.count); j += j & -j {
		w.count[j] += n
		w.served[j] += ts
	}
}

// see notes a time at which an image was served.
func (w *weights) see(ts int64) { w.latest = max(w.latest, ts) }

// grow makes room for n slots. Doubling a Fenwick tree needs only its new root.
func (w *weights) grow(n int) {
	if len(w.count) == 0 {
		w.count, w.served = make([]int64, 2), make([]int64, 2)
	}
	for len(w.count)-1 < n {
		size := len(w.count) - 1
		w.count = append(w.count, make([]int64, size)...)
		w.served = append(w.served, make([]int64, size)...)
		w.count[2*size], w.served[2*size] = w.total, w.sum
	}
}

// totalAt returns the sum of all weights at the moment now.
func (w *weights) totalAt(now int64) int64 { return w.total*now - w.sum }

// findWeight returns the slot in which the running sum of weights passes r,
// 0 ≤ r < totalAt(now).
func (w *weights) findWeight(r, now int64) int {
	return w.find(r, func(j int) int64 { return w.count[j]*now - w.served[j] })
}

// findCount returns the open slot with r open slots before it, 0 ≤ r < total.
func (w *weights) findCount(r int64) int {
	return w.find(r, func(j int) int64 { return w.count[j] })
}

func (w *weights) find(r int64, value func(int) int64) int {
	pos := 0
	for step := len(w.count) - 1; step > 0; step /= 2 {
		next := pos + step
		if next < len(w.count) && value(next) <= r {
			pos = next
			r -= value(next)
		}
	}
	return pos // 1-based predecessor, which is the 0-based slot
}
