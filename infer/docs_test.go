package infer

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/testkit"
)

// TestDocs parses every manifest of docs/models.md and wants every key of the
// format to be explained there.
func TestDocs(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(testkit.Root(t), "docs", "models.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(text, -1)
	if len(examples) < 4 {
		t.Errorf("%d examples", len(examples))
	}
	for i, e := range examples {
		if _, err := ParseManifest([]byte(e[1])); err != nil {
			t.Errorf("example %d: %v", i+1, err)
		}
	}
	for _, key := range keysOf(reflect.TypeFor[Manifest]()) {
		if !strings.Contains(text, "`"+key) && !regexp.MustCompile(`[{\s]`+key+":").MatchString(text) {
			t.Errorf("the key %s is not explained", key)
		}
	}
}

func keysOf(t reflect.Type) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Array {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var keys []string
	for f := range t.Fields() {
		if tag := f.Tag.Get("yaml"); tag != "" {
			keys = append(append(keys, tag), keysOf(f.Type)...)
		}
	}
	return keys
}
