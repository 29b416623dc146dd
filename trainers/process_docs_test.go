package trainers

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/testkit"
)

// The page of the protocol must name every field that goes over the pipe.
func TestPageNamesEveryField(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(testkit.Root(t), "docs", "trainers.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for _, v := range []any{Request{}, Case{}, Event{}, Result{}} {
		for field := range reflect.TypeOf(v).Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if !strings.Contains(page, "`"+name+"`") {
				t.Errorf("docs/trainers.md does not name %s of %T", name, v)
			}
		}
	}
	for _, k := range []EventKind{Started, Progress, Validated, Warned, Checkpoint, Finished, Broke} {
		if !strings.Contains(page, "| `"+string(k)+"` |") {
			t.Errorf("docs/trainers.md has no row for the event %s", k)
		}
	}
}
