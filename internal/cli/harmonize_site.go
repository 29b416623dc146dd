package cli

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/codec"
)

// siteFinder returns a function from the name of an image file to its site, ""
// for one that has none. text is a regular expression with one group, or the
// path of a .csv file; the empty text gives no sites.
func siteFinder(text string) (func(file string) string, error) {
	if text == "" {
		return func(string) string { return "" }, nil
	}
	if strings.EqualFold(filepath.Ext(text), ".csv") {
		return sitesOf(text)
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, usagef("--site %s: %v", text, err)
	}
	if re.NumSubexp() != 1 {
		return nil, usagef("--site %s: a pattern with one group in brackets is needed, which finds the site", text)
	}
	return func(file string) string {
		if m := re.FindStringSubmatch(file); m != nil {
			return m[1]
		}
		return ""
	}, nil
}

// sitesOf reads a table with the header image,site. An image is named with or
// without its ending.
func sitesOf(path string) (func(file string) string, error) {
	file, err := os.Open(path) //nolint:gosec // the user names it
	if err != nil {
		return nil, fmt.Errorf("site table: %w", err)
	}
	defer func() { _ = file.Close() }() // it was only read
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "site table %s", filepath.Base(path))
	}
	if len(rows) == 0 || len(rows[0]) != 2 || rows[0][0] != "image" || rows[0][1] != "site" {
		return nil, fault.New(fault.Invalid, "site table %s: the first line must be image,site", filepath.Base(path))
	}
	sites := make(map[string]string)
	for i, r := range rows[1:] {
		if _, ok := sites[r[0]]; ok || r[0] == "" || r[1] == "" {
			return nil, fault.New(fault.Invalid, "site table %s, row %d: image %q is named twice, or a cell is empty", filepath.Base(path), i+2, r[0])
		}
		sites[r[0]] = r[1]
	}
	return func(file string) string {
		if s, ok := sites[file]; ok {
			return s
		}
		return sites[strings.TrimSuffix(file, codec.Ext(file))]
	}, nil
}
