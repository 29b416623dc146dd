package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/voxloop/voxloop/internal/dataset"
	"github.com/voxloop/voxloop/internal/fault"
)

// dataFetchFlags are the flags of `voxloop data fetch`.
type dataFetchFlags struct {
	out, from, url, sha256 string
	labels                 []string
	unlabelled, keep, json bool
}

func newDataFetch(s streams) *cobra.Command {
	var f dataFetchFlags
	c := &cobra.Command{
		Use:   "fetch NAME --out DIR",
		Short: "Download a data set and make a studies folder of it",
		Long: `Download a data set, compare it with its published checksum, unpack it and make a
studies folder: images at the top, labels in labels/final, the names of label values
on record. The folder appears whole or not at all. A download that was stopped goes
on with the same command; until then what came is in DIR.fetch.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return usagef("data fetch needs the name of one data set; `voxloop data list` shows them")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return runDataFetch(c.Context(), s, args[0], f) },
	}
	fl := c.Flags()
	fl.StringVar(&f.out, "out", "", "studies folder to be made")
	fl.StringVar(&f.from, "from", "", "archive (tar, tar.gz, zip) or unpacked folder that is there already")
	fl.StringVar(&f.url, "url", "", "another address of the same archive")
	fl.StringVar(&f.sha256, "sha256", "", "SHA-256 that the archive must have")
	fl.StringSliceVar(&f.labels, "labels", nil, "only these classes, as spleen,liver or spleen=1,liver=2; the rest becomes background")
	fl.BoolVar(&f.unlabelled, "unlabelled", false, "images without labels, too")
	fl.BoolVar(&f.keep, "keep", false, "leave the downloaded archive in DIR.fetch")
	fl.BoolVar(&f.json, "json", false, "print the record as JSON")
	return c
}

func runDataFetch(ctx context.Context, s streams, name string, f dataFetchFlags) error {
	switch {
	case f.out == "":
		return usagef("data fetch needs --out DIR")
	case f.from != "" && f.url != "":
		return usagef("--from takes what is there, --url downloads: give one of them")
	case f.from != "" && f.keep:
		return usagef("--keep keeps a downloaded archive; --from is never removed")
	}
	labels, err := parseWanted(f.labels)
	if err != nil {
		return err
	}
	set, err := dataset.Find(name)
	if err != nil {
		return err
	}
	p := newDataProgress(s.err, set.Name)
	r, again, err := dataset.Fetch(ctx, set, dataset.Options{
		Out: f.out, From: f.from, URL: f.url, SHA256: f.sha256, Labels: labels, Unlabelled: f.unlabelled, Keep: f.keep, Progress: p.set,
	})
	p.close()
	if err != nil {
		if ctx.Err() != nil && fault.KindOf(err) == fault.Canceled {
			return fmt.Errorf("stopped before it was done; the same command goes on with what is in %s", dataset.WorkFolder(f.out))
		}
		return err
	}
	for _, l := range r.LeftOut {
		fmt.Fprintf(s.err, "left out %s: %s\n", l.ID, l.Reason)
	}
	if f.json {
		return printJSON(s.out, r)
	}
	return printFetched(s, set, r, f, again)
}

// printFetched tells what was made, and under which terms it may be used.
func printFetched(s streams, set dataset.Set, r *dataset.Record, f dataFetchFlags, again bool) error {
	var b strings.Builder
	if again {
		fmt.Fprintf(&b, "%s holds %s already; `voxloop data verify %s` looks at every file\n", f.out, r.Name, f.out)
	}
	labelled := 0
	for _, c := range r.Cases {
		if c.Label != "" {
			labelled++
		}
	}
	fmt.Fprintf(&b, "%s: %d images, %d of them labelled", f.out, len(r.Cases), labelled)
	if n := len(r.LeftOut); n > 0 {
		fmt.Fprintf(&b, ", %d left out", n)
	}
	b.WriteByte('\n')
	if set.Cases > 0 && labelled+len(r.LeftOut) < set.Cases {
		fmt.Fprintf(&b, "note: the whole set has %d labelled images\n", set.Cases)
	}
	if len(r.Channels) > 1 {
		fmt.Fprintf(&b, "channels: %s (files ID_0000, ID_0001, …)\n", strings.Join(r.Channels, ", "))
	}
	fmt.Fprintf(&b, "labels: %s\n", labelText(r.Labels))
	if r.Archive != nil {
		fmt.Fprintf(&b, "archive: %s, SHA-256 %s\n", r.Archive.Name, r.Archive.SHA256)
		if f.keep {
			fmt.Fprintf(&b, "it is kept in %s\n", dataset.WorkFolder(f.out))
		}
	}
	for _, line := range [][2]string{{"licence", r.Licence}, {"cite", r.Cite}} {
		if line[1] != "" {
			fmt.Fprintf(&b, "%s: %s\n", line[0], line[1])
		}
	}
	_, err := fmt.Fprint(s.out, b.String())
	return err
}

// labelText writes labels in the order of their values.
func labelText(labels map[string]int) string {
	var words []string
	for name := range labels {
		words = append(words, name)
	}
	slices.SortFunc(words, func(a, b string) int { return labels[a] - labels[b] })
	for i, name := range words {
		words[i] = fmt.Sprintf("%s=%d", name, labels[name])
	}
	return strings.Join(words, ", ")
}

// parseWanted reads NAME or NAME=VALUE words; 0 stands for no value.
func parseWanted(words []string) (map[string]int, error) {
	if len(words) == 0 {
		return nil, nil
	}
	labels, taken := map[string]int{}, map[int]bool{}
	for _, word := range words {
		name, text, given := strings.Cut(word, "=")
		name, value := strings.TrimSpace(name), 0
		if given {
			var err error
			if value, err = strconv.Atoi(strings.TrimSpace(text)); err != nil || value < 1 || value > 65535 {
				return nil, usagef("--labels: %q is not of the form NAME or NAME=VALUE with a value within 1..65535", word)
			}
		}
		if _, twice := labels[name]; twice || name == "" || value > 0 && taken[value] {
			return nil, &usageError{errors.New("--labels: " + strconv.Quote(word) + " has no name, or one or a value that came before")}
		}
		labels[name], taken[value] = value, true
	}
	return labels, nil
}
