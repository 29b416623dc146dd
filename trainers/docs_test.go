package trainers

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/testkit"
)

// Every key of the configuration has its place in the documentation.
func TestDocumentationHasEveryKey(t *testing.T) {
	text := string(readFile(t, filepath.Join(testkit.Root(t), "docs", "training.md")))
	var look func(prefix string, of reflect.Type)
	look = func(prefix string, of reflect.Type) {
		for f := range of.Fields() {
			key := prefix + f.Tag.Get("yaml")
			if f.Type.Kind() == reflect.Struct {
				look(key+".", f.Type)
			} else if !strings.Contains(text, "`"+key+"`") {
				t.Errorf("docs/training.md does not have the key %s", key)
			}
		}
	}
	look("", reflect.TypeFor[Config]())
}
