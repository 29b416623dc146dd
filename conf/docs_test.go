package conf

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/testkit"
)

// The page that explains the configuration must name every key with its
// variable and default, and no other key.
func TestPageListsEveryKey(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(testkit.Root(t), "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	flat := settings(Default())
	listed := 0
	for line := range strings.SplitSeq(string(page), "\n") {
		cells := strings.Split(line, " | ")
		key, ok := strings.CutPrefix(cells[0], "| `")
		if !ok || len(cells) != 4 {
			continue
		}
		key = strings.TrimSuffix(key, "`")
		listed++
		value, ok := flat[key]
		if !ok {
			t.Errorf("the page lists %s, which is no key", key)
			continue
		}
		if want := monai[key]; (want == "") != (cells[1] == "") || !strings.Contains(cells[1], want) {
			t.Errorf("%s: the page names the variable %q, want %q", key, cells[1], want)
		}
		if want := shown(value); want != "" && cells[2] != want {
			t.Errorf("%s: the page gives the default %s, want %s", key, cells[2], want)
		}
	}
	if listed != len(flat) {
		t.Errorf("the page lists %d keys of %d", listed, len(flat))
	}
}

// shown returns a default as the page writes it; "" where the page explains it
// in words.
func shown(value any) string {
	switch v := value.(type) {
	case string:
		if v == "" {
			return ""
		}
	case []string:
		if len(v) == 0 {
			return ""
		}
		return "`" + strings.Join(v, ", ") + "`"
	case map[string]string:
		return ""
	case time.Duration:
		text := v.String()
		for _, zero := range []string{"m0s", "h0m"} {
			if strings.HasSuffix(text, zero) {
				text = text[:len(text)-2]
			}
		}
		return "`" + text + "`"
	}
	return fmt.Sprintf("`%v`", value)
}
