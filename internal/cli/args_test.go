package cli

import (
	"slices"
	"testing"
)

func TestJoinPairs(t *testing.T) {
	tests := []struct {
		name     string
		in, want []string // want nil: refused
	}{
		{"two words", []string{"serve", "--conf", "models", "a,b", "--port", "1"}, []string{"serve", "--conf=models=a,b", "--port", "1"}},
		{"one word", []string{"serve", "--conf", "models=a", "-p", "1"}, []string{"serve", "--conf=models=a", "-p", "1"}},
		{"joined already", []string{"serve", "--conf=models=a"}, []string{"serve", "--conf=models=a"}},
		{"short", []string{"start_server", "-c", "models", "a", "-c", "k", "v"}, []string{"start_server", "--conf=models=a", "--conf=k=v"}},
		{"value with an equals sign", []string{"serve", "--conf", "url", "x?a=b"}, []string{"serve", "--conf=url=x?a=b"}},
		{"negative number", []string{"serve", "--conf", "samples", "-1"}, []string{"serve", "--conf=samples=-1"}},
		{"empty value", []string{"serve", "--conf", "models", ""}, []string{"serve", "--conf=models="}},
		{"after the end of flags", []string{"serve", "--", "--conf", "a"}, []string{"serve", "--", "--conf", "a"}},
		{"another command", []string{"infer", "-c", "a"}, []string{"infer", "-c", "a"}},
		{"nothing", nil, []string{}},
		{"no key", []string{"serve", "--conf"}, nil},
		{"no value", []string{"serve", "--conf", "models"}, nil},
		{"a flag for a value", []string{"serve", "--conf", "models", "--port", "1"}, nil},
		{"a flag for a key", []string{"serve", "-c", "--port", "1"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := joinPairs(tt.in)
			if (err != nil) != (tt.want == nil) {
				t.Fatalf("error = %v", err)
			}
			if err == nil && !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestParseParams(t *testing.T) {
	got, err := parseParams(pairs{
		"sw_overlap": "0.5", "largest_cc": "true", "result_dtype": "int16", "result_compress": "1",
		"foreground": "[[1,2,3],[4,5,6]]", "spleen": "[[7,8,9]]",
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.options.Overlap != 0.5 || got.options.LargestComponent == nil || !*got.options.LargestComponent || !got.compress || got.dtype.String() != "int16" {
		t.Errorf("params = %+v", got)
	}
	if g := got.guidance; len(g) != 2 || !slices.Equal(g["foreground"], [][3]int{{1, 2, 3}, {4, 5, 6}}) || !slices.Equal(g["spleen"], [][3]int{{7, 8, 9}}) {
		t.Errorf("guidance = %v", g)
	}
	for _, p := range []pairs{
		{"sw_overlap": "1"},
		{"sw_overlap": "0"},
		{"sw_overlap": "NaN"},
		{"largest_cc": "perhaps"},
		{"result_dtype": "complex64"},
		{"result_compress": ""},
		{"nonsense": "5"},
		{"foreground": "[[1,2]]"},
		{"foreground": "[[1,2,3.5]]"},
	} {
		if _, err := parseParams(p); err == nil {
			t.Errorf("%v was accepted", p)
		}
	}
}
