package infer

import (
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/transform"
)

// planeWork holds what one goroutine needs to decide planes of an image.
type planeWork struct {
	plan       *transform.Plan
	samplers   []*transform.Sampler
	rows, cols int
	value, top []float32
	labels     []uint16
}

// newPlaneWork samples the first voxels values of every channel.
func newPlaneWork(plan *transform.Plan, s *scores, voxels int) *planeWork {
	w := &planeWork{plan: plan}
	for c := range s.channels {
		w.samplers = append(w.samplers, plan.Sampler(transform.FromTensor(s.sum[c*s.n:c*s.n+voxels])))
	}
	w.rows, w.cols = plan.PlaneSize()
	n := w.rows * w.cols
	w.value, w.top, w.labels = make([]float32, n), make([]float32, n), make([]uint16, n)
	return w
}

// sample returns the scores of channel c on plane i, valid until the next call.
func (w *planeWork) sample(c, i int) []float32 {
	w.samplers[c].Plane(i, w.value, w.cols)
	return w.value
}

// argmax writes the channel with the largest score of plane i into labels, the
// lowest on ties.
func (w *planeWork) argmax(i int) {
	w.samplers[0].Plane(i, w.top, w.cols)
	clear(w.labels)
	for c := 1; c < len(w.samplers); c++ {
		for k, v := range w.sample(c, i) {
			if v > w.top[k] {
				w.top[k], w.labels[k] = v, uint16(c)
			}
		}
	}
}

// store writes the labels of plane i of a box that starts at start of the
// array [z, y, x]; over leaves the voxels without a label as they are.
func (w *planeWork) store(i int, start [3]int, out *imaging.LabelMap, over bool) {
	_, axis := w.plan.Planes()
	for r := range w.rows {
		at := [3]int{i, r, 0}
		if axis == 1 {
			at = [3]int{r, i, 0}
		}
		dst := out.Data[((at[0]+start[0])*out.Size[1]+at[1]+start[1])*out.Size[0]+start[2]:]
		row := w.labels[r*w.cols : (r+1)*w.cols]
		if over {
			overlay(dst, row)
		} else {
			copy(dst, row)
		}
	}
}
