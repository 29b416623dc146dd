package metrics

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/morph"
	"github.com/voxloop/voxloop/internal/imaging/parallel"
)

// Comparison is a prediction beside the truth, counted once for all classes.
// It is safe for use by many goroutines as long as the maps do not change.
type Comparison struct {
	pred, truth *imaging.LabelMap
	joint       map[pair]*cell
	boxes       map[uint16]morph.Box // around the class in both maps together
}

// pair is what the two maps say about a voxel.
type pair struct{ pred, truth uint16 }

type cell struct {
	voxels int
	box    morph.Box
}

// maxPairs bounds how many different pairs of labels are counted: label maps
// have few, images taken for label maps nearly as many as voxels.
const maxPairs = 1 << 18

// Compare counts what two label maps of one size say about each voxel, in
// parallel. The grid is the truth's. Errors: Invalid (imaging.ErrShape, or maps
// with more than 2^18 different pairs of labels), the context's.
func Compare(ctx context.Context, pred, truth *imaging.LabelMap) (*Comparison, error) {
	if pred.Size != truth.Size || len(pred.Data) != len(truth.Data) || len(truth.Data) != truth.Voxels() {
		return nil, fault.Wrap(fault.Invalid, imaging.ErrShape, "prediction %v against truth %v voxels", pred.Size, truth.Size)
	}
	c := &Comparison{pred: pred, truth: truth, joint: make(map[pair]*cell), boxes: make(map[uint16]morph.Box)}
	var mu sync.Mutex
	err := parallel.For(ctx, truth.Size[2], func(ctx context.Context, from, to int) error {
		part := make(map[pair]*cell)
		for z := from; z < to; z++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			for y := range truth.Size[1] {
				if err := c.countRow(y, z, part); err != nil {
					return err
				}
			}
		}
		mu.Lock()
		defer mu.Unlock()
		for p, m := range part {
			add(c.joint, p, m.voxels, m.box)
		}
		return checkPairs(c.joint)
	})
	if err != nil {
		return nil, err
	}
	for p, m := range c.joint {
		c.widen(p.pred, m.box)
		c.widen(p.truth, m.box)
	}
	return c, nil
}

// countRow adds the runs of equal pairs of one row.
func (c *Comparison) countRow(y, z int, to map[pair]*cell) error {
	nx := c.truth.Size[0]
	at := nx * (y + c.truth.Size[1]*z)
	p, t := c.pred.Data[at:at+nx], c.truth.Data[at:at+nx]
	for k := 0; k < nx; {
		a, b, from := p[k], t[k], k
		for k++; k < nx && p[k] == a && t[k] == b; {
			k++
		}
		if add(to, pair{a, b}, k-from, morph.Box{Min: [3]int{from, y, z}, Max: [3]int{k - 1, y, z}}) {
			if err := checkPairs(to); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkPairs(joint map[pair]*cell) error {
	if len(joint) > maxPairs {
		return fault.New(fault.Invalid, "the maps have more than %d different pairs of labels; they are no label maps", maxPairs)
	}
	return nil
}

// add reports whether the pair is new.
func add(to map[pair]*cell, p pair, voxels int, box morph.Box) bool {
	m := to[p]
	if m == nil {
		to[p] = &cell{voxels, box}
		return true
	}
	m.voxels += voxels
	m.box = m.box.Union(box)
	return false
}

func (c *Comparison) widen(class uint16, box morph.Box) {
	if b, ok := c.boxes[class]; ok {
		box = box.Union(b)
	}
	c.boxes[class] = box
}

// Classes returns the labels that occur in either map, 0 included, rising.
func (c *Comparison) Classes() []uint16 { return slices.Sorted(maps.Keys(c.boxes)) }

// Counts returns the confusion of one class against all others.
func (c *Comparison) Counts(class uint16) Counts {
	n := Counts{TN: len(c.truth.Data)}
	for p, m := range c.joint {
		switch {
		case p.pred == class && p.truth == class:
			n.TP += m.voxels
		case p.pred == class:
			n.FP += m.voxels
		case p.truth == class:
			n.FN += m.voxels
		}
	}
	n.TN -= n.TP + n.FP + n.FN
	return n
}

// Wrong returns the number of voxels whose labels differ.
func (c *Comparison) Wrong() int {
	n := 0
	for p, m := range c.joint {
		if p.pred != p.truth {
			n += m.voxels
		}
	}
	return n
}
