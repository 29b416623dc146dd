package native

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/testkit"
)

// coverage writes the table of docs/training-compiler.md: every operator, how
// many one-operator goldens and golden networks have it, and what checks its
// gradient.
func coverage(t *testing.T) string {
	t.Helper()
	_, cases := opCases(t)
	inCases, inNetworks := map[string]int{}, map[string]int{}
	for _, c := range cases {
		for op := range c.Ops {
			inCases[op]++
		}
	}
	seen := map[string]bool{}
	for _, v := range variants(t) {
		if seen[v.Network+v.Model] {
			continue
		}
		seen[v.Network+v.Model] = true
		for op := range v.model(t).Features().Ops {
			inNetworks[op]++
		}
	}
	probed := map[string]int{}
	for _, c := range differenceCases {
		probed[c.op]++
	}
	names, differentiable := Operators()
	var b strings.Builder
	b.WriteString("| operator | gradient | computed while compiling | goldens | networks | difference tests |\n|---|---|---|---|---|---|\n")
	for _, op := range names {
		gradient := "yes"
		switch {
		case piecewise[op]:
			gradient = "0"
		case !differentiable[op]:
			gradient = "–"
		}
		fold := "–"
		if rules[op].fold != nil {
			fold = "yes"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %d | %d | %d |\n", op, gradient, fold, inCases[op], inNetworks[op], probed[op])
	}
	return b.String()
}

// TestCoverageTable keeps the documentation in step with the registry. With
// VOXLOOP_WRITE_DOCS=1 it writes the table.
func TestCoverageTable(t *testing.T) {
	path := filepath.Join(testkit.Root(t), "docs", "training-compiler.md")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- operators: checked by TestCoverageTable -->\n", "<!-- end of operators -->"
	head, rest, ok1 := strings.Cut(string(raw), begin)
	have, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatal("the marks around the table are gone")
	}
	want := coverage(t)
	if os.Getenv("VOXLOOP_WRITE_DOCS") == "1" {
		if err := os.WriteFile(path, []byte(head+begin+want+end+tail), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if have != want {
		t.Error("docs/training-compiler.md does not show the operators as they are: run VOXLOOP_WRITE_DOCS=1 go test ./trainers/native -run TestCoverageTable")
	}
}

// Every operator of every golden network has a rule.
func TestNetworksAreCovered(t *testing.T) {
	names, _ := Operators()
	for _, v := range variants(t) {
		for op := range v.model(t).Features().Ops {
			if !slices.Contains(names, op) {
				t.Errorf("%s: no rule for %s", v.Network, op)
			}
		}
	}
}
