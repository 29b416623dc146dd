package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// joinPairs rewrites the reference's two-word form `--conf KEY VALUE` (or -c)
// of the serve commands into `--conf=KEY=VALUE`; a first word with "=" stands
// for itself. Other commands and words are left alone.
func joinPairs(args []string) ([]string, error) {
	if len(args) == 0 || !slices.Contains(serveNames, args[0]) {
		return args, nil
	}
	out := make([]string, 0, len(args))
	for i := 0; i < len(args); i++ {
		if args[i] == "--" {
			return append(out, args[i:]...), nil
		}
		if args[i] != "--conf" && args[i] != "-c" {
			out = append(out, args[i])
			continue
		}
		flag := args[i]
		i++
		if i >= len(args) || strings.HasPrefix(args[i], "--") {
			return nil, usagef("%s needs a key and a value", flag)
		}
		word := args[i]
		if !strings.Contains(word, "=") {
			i++
			if i >= len(args) || strings.HasPrefix(args[i], "--") {
				return nil, usagef("%s %s needs a value", flag, word)
			}
			word += "=" + args[i]
		}
		out = append(out, "--conf="+word)
	}
	return out, nil
}

// pairs is a repeatable flag of the form key=value; a later value replaces an
// earlier one.
type pairs map[string]string

var _ pflag.Value = pairs{}

// Set implements pflag.Value.
func (p pairs) Set(text string) error {
	key, value, ok := strings.Cut(text, "=")
	if !ok || key == "" {
		return fmt.Errorf("%q is not of the form key=value", text)
	}
	p[key] = value
	return nil
}

// Type implements pflag.Value.
func (p pairs) Type() string { return "key=value" }

// String implements pflag.Value.
func (p pairs) String() string {
	var words []string
	for _, k := range slices.Sorted(maps.Keys(p)) {
		words = append(words, k+"="+p[k])
	}
	return strings.Join(words, " ")
}
