package strategies

import "context"

// describe is the text that clients show.
func (s Spec) describe() string {
	switch s.Kind {
	case KindForeground:
		return "Random, mostly where a structure is predicted"
	case KindEntropy:
		return "Highest predictive entropy"
	case KindBALD:
		return "Highest mutual information of prediction and model (BALD)"
	case KindTTA:
		return "Largest disagreement of test-time augmentations (" + string(s.Measure) + ")"
	case KindVariance:
		return "Largest variance over the passes"
	case KindMargin:
		return "Smallest margin between the two likeliest classes"
	case KindPower:
		return "Stochastic batch by " + string(s.Measure) + " (" + string(s.Noise) + ")"
	case KindClasp:
		return "Least sure class by class, with fading noise (after ClaSP-PE)"
	case KindCoreset:
		return "Most different from what is labelled (core-set)"
	case KindKMeans:
		return "Representatives of groups of unsure images (k-means)"
	case KindWeighted:
		return "Weighted sum of ranks"
	case KindCost:
		return "Most uncertainty per second of annotation"
	case KindEpistemic:
		return "Get First Sample Based on Epistemic score" // MONAI Label's words
	}
	return string(s.Kind)
}

// Batch asks any strategy for up to n different images: a Batcher at once,
// another one by one.
func Batch(ctx context.Context, s Strategy, req Request, n int) ([]Pick, error) {
	if b, ok := s.(Batcher); ok {
		return b.Batch(ctx, req, n)
	}
	var picks []Pick
	seen := make(map[string]bool, n)
	for misses := 0; len(picks) < n && misses < 2*n+8; {
		p, err := s.Next(ctx, req)
		if err != nil {
			if len(picks) > 0 && ctx.Err() == nil {
				break
			}
			return nil, err
		}
		if seen[p.ID] {
			misses++
			continue
		}
		seen[p.ID] = true
		picks = append(picks, p)
	}
	return picks, nil
}
