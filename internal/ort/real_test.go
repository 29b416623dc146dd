package ort_test

import (
	"testing"

	"github.com/voxloop/voxloop/internal/ort/orttest"
)

func TestRuntimeLoads(t *testing.T) {
	rt := orttest.Runtime(t)
	if err := rt.ProviderError("cpu"); err != nil {
		t.Errorf("the CPU provider does not load: %v", err)
	}
}
