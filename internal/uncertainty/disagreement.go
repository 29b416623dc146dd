package uncertainty

// Disagreement is 1 minus the mean Dice of all pairs of passes, averaged over
// the foreground classes that any pass predicted; 0 when none did.
func (m *Maps) Disagreement() float64 {
	n := len(m.passes)
	counts := make([][]int, n)
	for i, l := range m.passes {
		counts[i] = make([]int, len(m.Mean))
		for _, c := range l {
			counts[i][c]++
		}
	}
	total := make([]float64, len(m.Mean))
	both := make([]int, len(m.Mean))
	for i := range n {
		for j := range i {
			clear(both)
			for v, c := range m.passes[i] {
				if m.passes[j][v] == c {
					both[c]++
				}
			}
			for c := range both {
				if s := counts[i][c] + counts[j][c]; s > 0 {
					total[c] += 2 * float64(both[c]) / float64(s)
				} else {
					total[c]++ // both say that it is not there
				}
			}
		}
	}
	var sum float64
	classes := 0
	for c := 1; c < len(total); c++ {
		seen := false
		for i := range counts {
			seen = seen || counts[i][c] > 0
		}
		if seen {
			sum += 1 - total[c]/float64(n*(n-1)/2)
			classes++
		}
	}
	if classes == 0 || n < 2 {
		return 0
	}
	return sum / float64(classes)
}
