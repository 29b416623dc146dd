package gate

import "slices"

// TooMuch reports whether a candidate's inference takes more memory than the
// rules allow; never when either is not known. Such a candidate need not be run.
func TooMuch(bytes [2]int64, o Options) bool {
	o = o.withDefaults()
	return bytes[0] > 0 && bytes[1] > 0 && float64(bytes[0]) > o.Memory*float64(bytes[1])
}

// Patience returns how long a candidate may take for a case for which the model
// in service took so long, before it is broken off: beyond any doubt too long.
func Patience(seconds float64, o Options) float64 {
	return 5*o.withDefaults().Slower*seconds + 10
}

func (v *Verdict) memory(o Options) {
	const mib = 1 << 20
	if v.Bytes[0] > 0 && v.Bytes[1] > 0 {
		v.check("not too much memory", !TooMuch(v.Bytes, o), "an inference takes %.1f MiB, %.1f MiB with the model in service, allowed %g times as much",
			float64(v.Bytes[0])/mib, float64(v.Bytes[1])/mib, o.Memory)
	}
}

// time compares how long inferences take. Both models are measured on the same
// machine, case by case in turns.
func (v *Verdict) time(p []couple, o Options) {
	var a, b, times []float64
	for _, c := range p {
		if c.a.Seconds > 0 && c.b.Seconds > 0 {
			a, b, times = append(a, c.a.Seconds), append(b, c.b.Seconds), append(times, c.a.Seconds/c.b.Seconds)
		}
	}
	if len(times) == 0 {
		return
	}
	slices.Sort(times)
	v.Slowdown = quantile(times, 0.5)
	r := compare(a, b, o, streamSeconds)
	v.Seconds = &r
	v.check("not slower", v.Slowdown <= o.Slower, "an inference takes %.2f times as long (median of %d cases; mean %.3g s, in service %.3g s), allowed %g times",
		v.Slowdown, len(times), r.Candidate, r.Current, o.Slower)
}
