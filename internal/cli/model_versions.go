package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/voxloop/voxloop/internal/ordered"
)

// shelf is where versions of models are: at a running server, or in the state
// folder of one that does not run. Both answer with the server's objects.
type shelf interface {
	names(ctx context.Context) ([]string, error)
	versions(ctx context.Context, model string) (*ordered.Map, error)
	put(ctx context.Context, model, from, reason string) (*ordered.Map, error)
	publish(ctx context.Context, model, version, reason string) (*ordered.Map, error)
	rollback(ctx context.Context, model, reason string) (*ordered.Map, error)
	pin(ctx context.Context, model, version string, on bool) (*ordered.Map, error)
	retire(ctx context.Context, model, version string) (*ordered.Map, error)
	close() error
}

// modelFlags are the flags of the commands about versions.
type modelFlags struct {
	ask                 asker
	studies, state, app string
	device, ort         string
	reason              string
	json                bool
}

func (f *modelFlags) register(c *cobra.Command) {
	f.ask.register(c)
	fl := c.Flags()
	fl.StringVarP(&f.studies, "studies", "s", "", "work without a server: on the state folder in these studies")
	fl.StringVar(&f.state, "state", "", "work without a server: on this state folder")
	fl.StringVar(&f.app, "app", "radiology", "without a server: the app that has the model")
	fl.StringVar(&f.device, "device", "", "without a server: where a version is tested: cpu, openvino or cuda")
	fl.StringVar(&f.ort, "ort", "", "without a server: an own ONNX Runtime library")
	fl.BoolVar(&f.json, "json", false, "print JSON")
}

// open returns the versions that the flags mean.
func (f *modelFlags) open(s streams, c *cobra.Command) (shelf, error) {
	if f.studies == "" && f.state == "" {
		return &servedShelf{f.ask}, nil
	}
	if c.Flags().Changed("server") {
		return nil, usagef("--server asks a running server, --studies and --state work without one: give one of them")
	}
	return openStoredShelf(s, *f)
}

// modelCommand makes a command about versions. least and most count its
// arguments, the model's name first.
func modelCommand(s streams, use, short string, least, most int, f *modelFlags, run func(ctx context.Context, on shelf, args []string) (*ordered.Map, error)) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < least || len(args) > most {
				return usagef("it is `voxloop model %s`", use)
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) (err error) {
			on, err := f.open(s, c)
			if err != nil {
				return err
			}
			defer func() {
				if cerr := on.close(); err == nil {
					err = cerr
				}
			}()
			o, err := run(c.Context(), on, args)
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(s.out, o)
			}
			return showVersions(s.out, o)
		},
	}
	f.register(c)
	return c
}

// reasoned is a command that takes a reason for the history.
func reasoned(c *cobra.Command, f *modelFlags) *cobra.Command {
	c.Flags().StringVar(&f.reason, "reason", "", "why, for the history")
	return c
}

func modelVersionCommands(s streams) []*cobra.Command {
	var list, show, put, publish, rollback, pin, unpin, retire modelFlags
	pinning := func(on bool) func(context.Context, shelf, []string) (*ordered.Map, error) {
		return func(ctx context.Context, at shelf, args []string) (*ordered.Map, error) {
			return at.pin(ctx, args[0], args[1], on)
		}
	}
	return []*cobra.Command{
		modelCommand(s, "list", "The models and their versions", 0, 0, &list,
			func(ctx context.Context, on shelf, _ []string) (*ordered.Map, error) { return listModels(ctx, on) }),
		modelCommand(s, "show MODEL [VERSION]", "A model's versions and the history of what was in service, or one version", 1, 2, &show, showModel),
		reasoned(modelCommand(s, "put MODEL DIR|FILE.onnx", "Add a version: a model folder, or a network for the manifest in service", 2, 2, &put,
			func(ctx context.Context, on shelf, args []string) (*ordered.Map, error) {
				return on.put(ctx, args[0], args[1], put.reason)
			}), &put),
		reasoned(modelCommand(s, "publish MODEL VERSION", "Put a version into service: an id, the start of one, or app", 2, 2, &publish,
			func(ctx context.Context, on shelf, args []string) (*ordered.Map, error) {
				return on.publish(ctx, args[0], args[1], publish.reason)
			}), &publish),
		reasoned(modelCommand(s, "rollback MODEL", "Put the version before into service", 1, 1, &rollback,
			func(ctx context.Context, on shelf, args []string) (*ordered.Map, error) {
				return on.rollback(ctx, args[0], rollback.reason)
			}), &rollback),
		modelCommand(s, "pin MODEL VERSION", "Keep a version for ever; in service, no training replaces it", 2, 2, &pin, pinning(true)),
		modelCommand(s, "unpin MODEL VERSION", "Keep a version no longer than others", 2, 2, &unpin, pinning(false)),
		modelCommand(s, "retire MODEL [VERSION]", "Delete a version, or those that models.keep no longer keeps", 1, 2, &retire,
			func(ctx context.Context, on shelf, args []string) (*ordered.Map, error) {
				return on.retire(ctx, args[0], optional(args))
			}),
	}
}

// optional is the second argument, "" where it was not given.
func optional(args []string) string {
	if len(args) < 2 {
		return ""
	}
	return args[1]
}

func listModels(ctx context.Context, on shelf) (*ordered.Map, error) {
	names, err := on.names(ctx)
	if err != nil {
		return nil, err
	}
	all := []any{}
	for _, name := range names {
		m, err := on.versions(ctx, name)
		if err != nil {
			return nil, err
		}
		all = append(all, ordered.Of("model", name, "in_service", value(m, "in_service"), "versions", value(m, "versions")))
	}
	return ordered.Of("models", all), nil
}

func showModel(ctx context.Context, on shelf, args []string) (*ordered.Map, error) {
	m, err := on.versions(ctx, args[0])
	if err != nil || len(args) < 2 {
		return m, err
	}
	return oneVersion(m, args[1])
}
