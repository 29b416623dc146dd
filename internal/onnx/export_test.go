package onnx

import "slices"

// PrepareWith applies the named rules only, whatever the provider: for
// measuring what each of them costs.
func PrepareWith(m *Model, provider string, names ...string) (*Model, error) {
	chosen := slices.DeleteFunc(slices.Clone(rules), func(r rule) bool { return !slices.Contains(names, r.name) })
	out, _, err := prepare(m, PrepareOptions{Provider: provider}, chosen)
	return out, err
}
