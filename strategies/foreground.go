package strategies

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// chooseForeground is KindForeground. A share of the choices is for a class,
// drawn with equal chances from those that the model predicts anywhere, and
// falls on any image where it is predicted; the rest on any image.
//
// It is the image-wise form of nnU-Net's foreground oversampling (Isensee et
// al., Nature Methods 2021) and of nnActive's foreground-aware random baselines
// (Lüth, Traub et al., 2025), which uncertainty alone does not reliably beat.
func (s Spec) chooseForeground(p *pool, n int) []choice {
	rng := rand.New(rand.NewPCG(s.Seed, p.number)) //nolint:gosec // which image comes next is no secret
	with := make(map[int][]int)
	for i, m := range p.members {
		if m.look != nil {
			for _, c := range m.look.classes {
				with[c.Class] = append(with[c.Class], i)
			}
		}
	}
	classes := make([]int, 0, len(with))
	for c := range with {
		classes = append(classes, c)
	}
	slices.Sort(classes)
	all := p.everyone()
	taken := make(map[int]bool, n)
	draw := func(from *[]int) (int, bool) {
		for list := *from; len(list) > 0; list = *from {
			k := rng.IntN(len(list))
			i := list[k]
			list[k] = list[len(list)-1]
			*from = list[:len(list)-1]
			if !taken[i] {
				taken[i] = true
				return i, true
			}
		}
		return 0, false
	}
	var out []choice
	for len(out) < min(n, len(p.members)) {
		if len(classes) > 0 && rng.Float64() < s.Foreground {
			c := classes[rng.IntN(len(classes))]
			list := with[c]
			total := len(list)
			i, ok := draw(&list)
			with[c] = list
			if ok {
				ch := p.choice(i, noScore, fmt.Sprintf("at random among images where class %d is predicted", c))
				ch.class, ch.parts = c, []Part{{"images_left_with_class", float64(total)}}
				out = append(out, ch)
				continue
			}
		}
		i, ok := draw(&all)
		if !ok {
			break
		}
		why := "at random among all images"
		if len(classes) == 0 {
			why = "at random: no foreground is predicted anywhere yet"
		}
		out = append(out, p.choice(i, noScore, why))
	}
	return out
}
