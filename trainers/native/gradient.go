package native

// backward derives the gradients of everything on the tape. seeds are the
// gradients of the results, in pairs of value and gradient.
func (g *graph) backward(seeds ...string) {
	g.taping = false
	for i := 0; i+1 < len(seeds); i += 2 {
		g.grads[seeds[i]] = append(g.grads[seeds[i]], seeds[i+1])
	}
	for i := len(g.tape) - 1; i >= 0 && g.err == nil; i-- {
		c := g.tape[i]
		dy, some := make([]string, len(c.out)), false
		for k, name := range c.out {
			dy[k] = g.gradient(name)
			some = some || dy[k] != ""
		}
		switch {
		case !some:
		case c.rule.backward == nil:
			c.fail("there is no gradient for this operator, and parameters before it would need one; freeze them or replace the operator")
		default:
			c.rule.backward(c, dy)
		}
	}
}

// gradient returns the sum of the contributions to the gradient of a value, or
// "" when there is none.
func (g *graph) gradient(name string) string {
	parts := g.grads[name]
	if len(parts) == 0 {
		return ""
	}
	sum := parts[0]
	for _, p := range parts[1:] {
		sum = g.add(sum, p)
	}
	g.grads[name] = []string{sum}
	return sum
}
