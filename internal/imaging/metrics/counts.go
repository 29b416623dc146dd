package metrics

import "math"

// Counts are the voxels of one class by what prediction and truth say.
type Counts struct{ TP, FP, TN, FN int }

func (n Counts) parts() (tp, fp, tn, fn float64) {
	return float64(n.TP), float64(n.FP), float64(n.TN), float64(n.FN)
}

// ratio is NaN where nothing is counted.
func ratio(num, den float64) float64 {
	if den == 0 {
		return math.NaN()
	}
	return num / den
}

// Dice returns 2|A∩B| / (|A|+|B|) (Dice, Ecology 26, 1945).
func (n Counts) Dice(e Empty) float64 {
	tp, fp, _, fn := n.parts()
	return e.overlap(2*tp, 2*tp+fp+fn, n.TP+n.FN == 0)
}

// IoU returns |A∩B| / |A∪B| (Jaccard).
func (n Counts) IoU(e Empty) float64 {
	tp, fp, _, fn := n.parts()
	return e.overlap(tp, tp+fp+fn, n.TP+n.FN == 0)
}

// Sensitivity is TP / (TP + FN).
func (n Counts) Sensitivity() float64 { return ratio(float64(n.TP), float64(n.TP+n.FN)) }

// Specificity is TN / (TN + FP).
func (n Counts) Specificity() float64 { return ratio(float64(n.TN), float64(n.TN+n.FP)) }

// Precision is TP / (TP + FP).
func (n Counts) Precision() float64 { return ratio(float64(n.TP), float64(n.TP+n.FP)) }

// NegativePredictive is TN / (TN + FN).
func (n Counts) NegativePredictive() float64 { return ratio(float64(n.TN), float64(n.TN+n.FN)) }

// MissRate is FN / (TP + FN).
func (n Counts) MissRate() float64 { return ratio(float64(n.FN), float64(n.TP+n.FN)) }

// FallOut is FP / (TN + FP).
func (n Counts) FallOut() float64 { return ratio(float64(n.FP), float64(n.TN+n.FP)) }

// FalseDiscovery is FP / (TP + FP).
func (n Counts) FalseDiscovery() float64 { return ratio(float64(n.FP), float64(n.TP+n.FP)) }

// FalseOmission is FN / (TN + FN).
func (n Counts) FalseOmission() float64 { return ratio(float64(n.FN), float64(n.TN+n.FN)) }

// PrevalenceThreshold is (√(TPR·FPR) − FPR) / (TPR − FPR), NaN where the two
// rates are equal. Both differences cancel where the rates are close, so that
// its digits are those of the arithmetic: PyTorch's in float32.
func (n Counts) PrevalenceThreshold() float64 {
	tpr, tnr := float32(n.Sensitivity()), float32(n.Specificity())
	return ratio(float64(torchRoot(tpr*(1-tnr))+tnr-1), float64(tpr+tnr-1))
}

// torchRoot is the square root as PyTorch's vector code gives it on a CPU. It
// errs by up to three quarters of the last place: below 1 it takes the lower
// neighbour only within a quarter of it (observed; 97 % of the roots of 0.999 to
// 1 are equal, and 85 % of those of 0.5 to 1).
func torchRoot(x float32) float32 {
	const last = 1 << 24 // units of the last place from 0.5 to 1
	root := math.Sqrt(float64(x))
	if root < 0.5 || root >= 1 {
		return float32(root)
	}
	return float32(1 - math.Floor((1-root)*last+0.25)/last)
}

// ThreatScore is TP / (TP + FN + FP), NaN only where the class is in neither.
func (n Counts) ThreatScore() float64 { return ratio(float64(n.TP), float64(n.TP+n.FN+n.FP)) }

// Accuracy is the part of voxels that is right.
func (n Counts) Accuracy() float64 { return ratio(float64(n.TP+n.TN), float64(n.TP+n.TN+n.FP+n.FN)) }

// BalancedAccuracy is the mean of sensitivity and specificity.
func (n Counts) BalancedAccuracy() float64 { return (n.Sensitivity() + n.Specificity()) / 2 }

// FBeta weighs sensitivity beta times as much as precision:
// (1+β²)TP / ((1+β²)TP + β²FN + FP).
func (n Counts) FBeta(beta float64) float64 {
	tp, fp, _, fn := n.parts()
	b := beta * beta
	return ratio((1+b)*tp, (1+b)*tp+b*fn+fp)
}

// Matthews is Matthews' correlation coefficient.
func (n Counts) Matthews() float64 {
	tp, fp, tn, fn := n.parts()
	return ratio(tp*tn-fp*fn, math.Sqrt(tp+fp)*math.Sqrt(tp+fn)*math.Sqrt(tn+fp)*math.Sqrt(tn+fn))
}

// FowlkesMallows is the geometric mean of precision and sensitivity.
func (n Counts) FowlkesMallows() float64 { return math.Sqrt(n.Precision() * n.Sensitivity()) }

// Informedness is sensitivity + specificity − 1.
func (n Counts) Informedness() float64 { return n.Sensitivity() + n.Specificity() - 1 }

// Markedness is precision + negative predictive value − 1.
func (n Counts) Markedness() float64 { return n.Precision() + n.NegativePredictive() - 1 }

// VolumeError returns predicted minus true volume in mm³ for voxels of the
// given volume, and the same relative to the true volume (NaN when that is 0).
func (n Counts) VolumeError(voxel float64) (mm3, relative float64) {
	d := float64(n.FP - n.FN)
	return d * voxel, ratio(d, float64(n.TP+n.FN))
}
