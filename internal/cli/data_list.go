package cli

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/voxloop/voxloop/internal/dataset"
)

func newDataList(s streams) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list [NAME…]",
		Short: "List the data sets, or tell all about some of them",
		RunE: func(_ *cobra.Command, args []string) error {
			sets := dataset.Sets()
			if len(args) > 0 {
				sets = nil
				for _, name := range args {
					set, err := dataset.Find(name)
					if err != nil {
						return err
					}
					sets = append(sets, set)
				}
			}
			switch {
			case asJSON:
				return printJSON(s.out, sets)
			case len(args) > 0:
				return printSets(s.out, sets)
			}
			return printSetTable(s.out, sets)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func printSetTable(w io.Writer, sets []dataset.Set) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "NAME\tCASES\tSIZE\tLICENCE\tDOWNLOAD\tWHAT") // Flush tells
	for _, s := range sets {
		cases, download := "", "by hand"
		if s.Cases > 0 {
			cases = fmt.Sprint(s.Cases)
		}
		if s.URL != "" {
			download = "yes"
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, cases, about(s), cmp.Or(s.Licence, "-"), download, s.Title)
	}
	return t.Flush()
}

// about is the rounded size of a set's archive.
func about(s dataset.Set) string {
	switch {
	case s.About >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(s.About)/1e9)
	case s.About > 0:
		return fmt.Sprintf("%d MB", s.About/1e6)
	}
	return ""
}

// printSets tells all about sets.
func printSets(w io.Writer, sets []dataset.Set) error {
	var b strings.Builder
	for i, s := range sets {
		if i > 0 {
			b.WriteByte('\n')
		}
		line := func(key, text string) {
			if text != "" {
				fmt.Fprintf(&b, "%-10s%s\n", key, text)
			}
		}
		line("name", s.Name)
		line("what", s.Title)
		line("modality", s.Modality)
		line("channels", strings.Join(s.Channels, ", "))
		var labels []string
		for _, l := range s.Labels {
			labels = append(labels, fmt.Sprintf("%s=%d", l.Name, l.Value))
		}
		line("labels", strings.Join(labels, ", "))
		if s.Cases > 0 {
			line("cases", fmt.Sprint(s.Cases))
		}
		line("archive", s.Archive)
		line("size", about(s))
		line("address", s.URL)
		line("SHA-256", s.SHA256)
		line("MD5", s.MD5)
		if s.URL != "" && s.SHA256 == "" && s.MD5 == "" {
			line("checksum", "none is published; fetch prints the SHA-256 of what comes")
		}
		line("access", s.Access)
		line("licence", s.Licence)
		line("cite", s.Cite)
		line("page", s.Home)
		line("note", s.Note)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
