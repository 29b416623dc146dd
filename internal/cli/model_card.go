package cli

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

// modelAndVersion takes MODEL and perhaps VERSION.
func modelAndVersion(command string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < 1 || len(args) > 2 {
			return usagef("model %s needs the name of a model and takes a version", command)
		}
		return nil
	}
}

// versionQuery is the address below a model's, with the version where one is
// given.
func versionQuery(what string, args []string, more ...string) string {
	v := url.Values{}
	if len(args) > 1 {
		v.Set("version", args[1])
	}
	for i := 0; i < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	p := "/model/" + url.PathEscape(args[0]) + "/" + what
	if len(v) > 0 {
		p += "?" + v.Encode()
	}
	return p
}

func newModelCard(s streams) *cobra.Command {
	var a asker
	var asJSON bool
	c := &cobra.Command{
		Use: "card MODEL [VERSION]", Short: "The model card of a version, by default of the one in service", Args: modelAndVersion("card"),
		RunE: func(c *cobra.Command, args []string) error {
			output := "markdown"
			if asJSON {
				output = "json"
			}
			body, err := a.ask(c.Context(), http.MethodGet, versionQuery("card", args, "output", output))
			if err == nil {
				_, err = s.out.Write(body)
			}
			return err
		},
	}
	a.register(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return c
}

func newModelShadow(s streams) *cobra.Command {
	var a asker
	var asJSON, stop bool
	c := &cobra.Command{
		Use: "shadow MODEL [VERSION]", Short: "Run a version beside the one in service, unseen; without one: what was seen of it", Args: modelAndVersion("shadow"),
		RunE: func(c *cobra.Command, args []string) error {
			method := http.MethodGet
			switch {
			case stop && len(args) > 1:
				return usagef("--stop ends whatever runs in the shadow: leave out the version")
			case stop:
				method = http.MethodDelete
			case len(args) > 1:
				method = http.MethodPost
			}
			body, err := a.ask(c.Context(), method, versionQuery("shadow", args))
			if err != nil {
				return err
			}
			if asJSON {
				_, err = s.out.Write(append(body, '\n'))
				return err
			}
			m, err := ordered.Parse(body)
			if err != nil {
				return fault.Wrap(fault.Unavailable, err, "the answer is no JSON object: is this a voxloop server?")
			}
			if stop {
				_, err = fmt.Fprintln(s.out, "no version runs in the shadow any more")
				return err
			}
			return showShadow(s, m)
		},
	}
	a.register(c)
	c.Flags().BoolVar(&stop, "stop", false, "let no version run in the shadow any more")
	c.Flags().BoolVar(&asJSON, "json", false, "print the server's whole answer")
	return c
}

func showShadow(s streams, m *ordered.Map) error {
	state := "runs"
	if running, _ := m.Get("running"); running != true {
		state = "ran"
		if why := m.String("why"); why != "" {
			state += " (" + why + ")"
		}
	}
	cases, _ := m.Get("cases")
	list, _ := cases.([]any)
	fmt.Fprintf(s.out, "%s %s beside %s, since %s: %d cases, %v left out for want of time\n", m.String("version"), state, m.String("against"), m.String("begun"), len(list), value(m, "dropped"))
	for _, c := range list {
		o, ok := c.(*ordered.Map)
		if !ok {
			continue
		}
		if e := o.String("error"); e != "" {
			fmt.Fprintf(s.out, "%s: %s\n", o.String("image"), e)
			continue
		}
		fmt.Fprintf(s.out, "%s: Dice %s with what people saw", o.String("image"), numberText(o, "mean_dice"))
		for _, name := range o.Sub("dice").Keys() {
			fmt.Fprintf(s.out, ", %s %s", name, numberText(o.Sub("dice"), name))
		}
		fmt.Fprintln(s.out)
	}
	return nil
}
