package strategies

// idHeap is a container/heap of candidates by id.
type idHeap struct {
	items   []*candidate
	largest bool // the largest id on top instead of the smallest
}

func (h *idHeap) Len() int { return len(h.items) }

func (h *idHeap) Less(i, j int) bool {
	if h.largest {
		return h.items[i].id > h.items[j].id
	}
	return h.items[i].id < h.items[j].id
}

func (h *idHeap) Swap(i, j int) { h.items[i], h.items[j] = h.items[j], h.items[i] }

func (h *idHeap) Push(v any) { h.items = append(h.items, v.(*candidate)) }

func (h *idHeap) Pop() any {
	last := len(h.items) - 1
	c := h.items[last]
	h.items[last] = nil
	h.items = h.items[:last]
	return c
}
