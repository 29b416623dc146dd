package infer

import (
	"context"
	"math"
	"sync"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/transform"
)

// calibrationBins is the number of equal parts of [0, 1] into which the
// network's probabilities of its decisions are sorted.
const calibrationBins = 15

// RunAgainst is Run beside the truth. It also returns the expected calibration
// error: over bins of the probability of the most probable class, the mean
// absolute difference between that probability and the share of voxels where the
// class is the true one, weighted by voxels. It is taken on the network's grid
// over the voxels where the truth or the decision is not the background; most of
// an image is background that no model doubts. nil: there is no such voxel, or
// the truth has labels that the model does not know.
//
// Source: Naeini, Cooper, Hauskrecht, AAAI 2015; Guo et al., ICML 2017.
func (e *Evaluator) RunAgainst(ctx context.Context, in Input, truth *imaging.LabelMap, o Options) (*imaging.LabelMap, *float64, error) {
	var k *calibrationSink
	found, err := e.run(ctx, &task{in: in, options: o, wrap: func(inner sink, p *prepared) sink {
		labels, err := e.pipeline.labels(ctx, truth, p)
		if err != nil {
			return inner // Run's own errors tell what stops it
		}
		k = &calibrationSink{sink: inner, truth: labels}
		return k
	}})
	if err != nil || k == nil {
		return found, nil, err
	}
	return found, k.expected(), nil
}

// calibrationSink counts how probable decisions are and how often they are
// right, before the scores go on to another sink.
type calibrationSink struct {
	sink
	truth []uint16 // class indices on the prepared grid

	mu   sync.Mutex
	bins [calibrationBins]calibrationBin
}

type calibrationBin struct {
	voxels, right int
	sum           float64 // of probabilities
}

func (k *calibrationSink) flush(ctx context.Context, all []*scores, limit int) error {
	s := all[0]
	from, to := s.open(limit)
	if to > from {
		truth := k.truth[s.base*s.plane():]
		err := transform.Parallel(ctx, to-from, func(_ context.Context, a, b int) error {
			var bins [calibrationBins]calibrationBin
			for i := a + from; i < b+from; i++ {
				class, p := s.decision(i)
				if class == 0 && truth[i] == 0 {
					continue
				}
				bin := &bins[min(int(p*calibrationBins), calibrationBins-1)]
				bin.voxels++
				bin.sum += p
				if class == int(truth[i]) {
					bin.right++
				}
			}
			k.mu.Lock()
			defer k.mu.Unlock()
			for j, bin := range bins {
				k.bins[j].voxels += bin.voxels
				k.bins[j].right += bin.right
				k.bins[j].sum += bin.sum
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return k.sink.flush(ctx, all, limit)
}

// decision returns the most probable class of held voxel i and its probability,
// by softmax, or by sigmoid where there is one channel. The scores are not
// activated yet.
func (s *scores) decision(i int) (class int, p float64) {
	weight := 1.0
	if s.weight != nil {
		weight = 1 / float64(s.weight[i])
	}
	if s.channels == 1 {
		p = 1 / (1 + math.Exp(-weight*float64(s.sum[i])))
		if p < 0.5 {
			return 0, 1 - p
		}
		return 1, p
	}
	most := math.Inf(-1)
	for c := range s.channels {
		if v := weight * float64(s.sum[c*s.n+i]); v > most {
			class, most = c, v
		}
	}
	var sum float64
	for c := range s.channels {
		sum += math.Exp(weight*float64(s.sum[c*s.n+i]) - most)
	}
	return class, 1 / sum
}

func (k *calibrationSink) expected() *float64 {
	n, e := 0, 0.0
	for _, b := range k.bins {
		n += b.voxels
		e += math.Abs(b.sum - float64(b.right))
	}
	if n == 0 || math.IsNaN(e) {
		return nil
	}
	e /= float64(n)
	return &e
}
