// Package gate decides whether a candidate model is better than the one in
// service.
//
// Both have segmented the same held-out cases, which no training has seen. A
// candidate passes when all of these hold:
//
//   - No class is worse: per class, the lower end of the interval of the mean
//     paired difference of Dice stays above -Margin (non-inferiority).
//   - The mean over classes is better: by paired bootstrap and by Wilcoxon's
//     signed-rank test, both one-sided.
//   - The 95th percentile of the surface distance (HD95) is not worse on average
//     by more than a tolerance, and not more cases have failed.
//   - It runs, and an inference takes neither much more time nor much more memory.
//
// Calibration is reported and decides nothing. The verdict holds all numbers.
package gate
