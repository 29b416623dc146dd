package strategies

import (
	"container/heap"
	"math"
	"slices"
)

// largest returns the places of the k largest of n values, the largest first;
// ties go to the lower place and NaN is never chosen. It takes O(n log k) time
// and calls value once per place.
func largest(n, k int, value func(i int) float64) []int {
	h := &smallHeap{}
	for i := range n {
		v := value(i)
		switch {
		case math.IsNaN(v) || k <= 0:
		case h.Len() < k:
			heap.Push(h, ranked{i, v})
		case v > (*h)[0].value: // a tie has the higher place and loses
			(*h)[0] = ranked{i, v}
			heap.Fix(h, 0)
		}
	}
	slices.SortFunc(*h, func(a, b ranked) int {
		if a.worse(b) {
			return 1
		}
		return -1
	})
	out := make([]int, len(*h))
	for i, r := range *h {
		out[i] = r.at
	}
	return out
}

type ranked struct {
	at    int
	value float64
}

func (r ranked) worse(o ranked) bool {
	if r.value != o.value {
		return r.value < o.value
	}
	return r.at > o.at
}

// smallHeap is a container/heap with the worst on top.
type smallHeap []ranked

func (h smallHeap) Len() int           { return len(h) }
func (h smallHeap) Less(i, j int) bool { return h[i].worse(h[j]) }
func (h smallHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *smallHeap) Push(v any)        { *h = append(*h, v.(ranked)) }

func (h *smallHeap) Pop() any {
	last := len(*h) - 1
	r := (*h)[last]
	*h = (*h)[:last]
	return r
}
