package cli_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging/augment"
	"github.com/voxloop/voxloop/internal/testkit"
)

var (
	codeBlock = regexp.MustCompile("(?s)```(\\w*)\n(.*?)```")
	flagWord  = regexp.MustCompile(`(?:^|\s)(--[a-z0-9-]+)`)
)

// Every command in the recipes is one of the program's, with flags that it has.
func TestRecipeCommands(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(testkit.Root(t), "docs", "recipes", "*.md"))
	if err != nil || len(pages) < 6 {
		t.Fatal(pages, err)
	}
	help := map[string]string{}
	seen := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range codeBlock.FindAllStringSubmatch(string(text), -1) {
			for line := range strings.Lines(block[2]) {
				words := strings.Fields(line)
				if len(words) < 2 || words[0] != "voxloop" {
					continue
				}
				seen++
				command := words[1]
				if len(words) > 2 && (command == "data" || command == "model" || command == "app" || command == "loop") {
					command += " " + words[2]
				}
				if _, ok := help[command]; !ok {
					r := run(t, append(strings.Fields(command), "--help")...)
					if r.code != 0 {
						t.Errorf("%s: there is no command %q", filepath.Base(page), command)
					}
					help[command] = r.out
				}
				for _, flag := range flagWord.FindAllStringSubmatch(line, -1) {
					if !regexp.MustCompile(`\Q` + flag[1] + `\E\b`).MatchString(help[command]) {
						t.Errorf("%s: %s has no flag %s", filepath.Base(page), command, flag[1])
					}
				}
			}
		}
	}
	if seen < 25 {
		t.Errorf("only %d commands were found", seen)
	}
}

// The recipe for left and right is the default one, but for mirroring along x.
func TestRecipeWithoutMirroring(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(testkit.Root(t), "docs", "recipes", "left-right.md"))
	if err != nil {
		t.Fatal(err)
	}
	block := codeBlock.FindStringSubmatch(string(text))
	if block == nil || block[1] != "yaml" {
		t.Fatal("the page begins with no recipe")
	}
	got, err := augment.ParseRecipe([]byte(block[2]))
	if err != nil {
		t.Fatal(err)
	}
	want := augment.Default()
	last := want.Transforms[len(want.Transforms)-1]
	if last.Flip == nil || last.Flip.X == 0 {
		t.Fatalf("the default recipe ends with %+v", last)
	}
	last.Flip.X = 0
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
