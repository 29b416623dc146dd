package strategies

// key orders a candidate in a tree: larger scores first, then smaller ids.
type key struct {
	score float64
	c     *candidate
}

func (k key) before(o key) bool {
	if k.score != o.score {
		return k.score > o.score
	}
	return k.c.id < o.c.id
}

// tree is an ordered set of candidates: a treap whose priorities are the hashes
// of the ids, so its shape does not depend on the order of insertion. All
// operations take O(log n) time. The zero value is empty.
//
// Source: Seidel and Aragon, Algorithmica 16 (1996).
type tree struct{ root *node }

type node struct {
	key         key
	size        int
	left, right *node
}

func (n *node) len() int {
	if n == nil {
		return 0
	}
	return n.size
}

func (n *node) update() { n.size = 1 + n.left.len() + n.right.len() }

// above tells whether a lies above b in the heap order.
func above(a, b *node) bool {
	x, y := a.key.c, b.key.c
	if x.hash != y.hash {
		return x.hash > y.hash
	}
	return x.id < y.id
}

// split divides n into what comes before k and the rest.
func split(n *node, k key) (l, r *node) {
	switch {
	case n == nil:
		return nil, nil
	case n.key.before(k):
		n.right, r = split(n.right, k)
		n.update()
		return n, r
	default:
		l, n.left = split(n.left, k)
		n.update()
		return l, n
	}
}

func join(l, r *node) *node {
	switch {
	case l == nil:
		return r
	case r == nil:
		return l
	case above(l, r):
		l.right = join(l.right, r)
		l.update()
		return l
	default:
		r.left = join(l, r.left)
		r.update()
		return r
	}
}

// union merges two trees without a common key in O(m log(n/m)) time for m ≤ n
// keys. Both are used up.
func union(a, b *node) *node {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case above(b, a):
		a, b = b, a
	}
	l, r := split(b, a.key)
	a.left, a.right = union(a.left, l), union(a.right, r)
	a.update()
	return a
}

func (t *tree) len() int { return t.root.len() }

// insert adds k, which must not be in the tree.
func (t *tree) insert(k key) { t.root = insert(t.root, &node{key: k, size: 1}) }

func insert(n, added *node) *node {
	switch {
	case n == nil:
		return added
	case above(added, n):
		added.left, added.right = split(n, added.key)
		added.update()
		return added
	case added.key.before(n.key):
		n.left = insert(n.left, added)
	default:
		n.right = insert(n.right, added)
	}
	n.update()
	return n
}

// remove takes k out and reports whether it was there.
func (t *tree) remove(k key) bool {
	var found bool
	t.root, found = remove(t.root, k)
	return found
}

func remove(n *node, k key) (*node, bool) {
	if n == nil {
		return nil, false
	}
	if n.key == k {
		return join(n.left, n.right), true
	}
	var found bool
	if k.before(n.key) {
		n.left, found = remove(n.left, k)
	} else {
		n.right, found = remove(n.right, k)
	}
	n.update()
	return n, found
}

// at returns the i-th key, 0 ≤ i < len.
func (t *tree) at(i int) key {
	n := t.root
	for {
		switch l := n.left.len(); {
		case i < l:
			n = n.left
		case i == l:
			return n.key
		default:
			i -= l + 1
			n = n.right
		}
	}
}

// rank returns how many keys come before k.
func (t *tree) rank(k key) int {
	before := 0
	for n := t.root; n != nil; {
		if n.key.before(k) {
			before += n.left.len() + 1
			n = n.right
		} else {
			n = n.left
		}
	}
	return before
}

// all yields the keys in order. The tree must not change meanwhile.
func (t *tree) all(yield func(key) bool) { walk(t.root, yield) }

func walk(n *node, yield func(key) bool) bool {
	return n == nil || walk(n.left, yield) && yield(n.key) && walk(n.right, yield)
}
