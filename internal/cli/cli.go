// Package cli is the command line: one file per command. Run does it all, so
// that a test runs a command in-process.
//
// Exit codes: 0 done, 1 the work failed, 2 wrong usage. An error is one line on
// standard error, "voxloop: what: where"; what a program may read goes to
// standard output, as JSON where --json says so.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// The exit codes.
const (
	exitDone  = 0
	exitFail  = 1
	exitUsage = 2
)

// usageError marks a mistake in the command line or the configuration.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// streams are a command's standard input, output and error.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// Run runs the command that args (without the program's name) say and returns
// the exit code. SIGINT or SIGTERM ends the work in an orderly way; a second one
// ends the process at once.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, stop)() // the second signal finds the default action

	args, err := joinPairs(args)
	if err == nil {
		root := newRoot(streams{in: stdin, out: stdout, err: stderr})
		root.SetArgs(args)
		err = root.ExecuteContext(ctx)
	}
	if err == nil {
		return exitDone
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.New("stopped before it was done")
	}
	fmt.Fprintf(stderr, "voxloop: %s\n", line(err))
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	return exitFail
}

// line returns an error's text on one line.
func line(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

func newRoot(s streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "voxloop",
		Short: "Annotation server for 3-D medical images that speaks the MONAI Label protocol",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q; see `voxloop help`", args[0])
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			return usagef("name a command; `voxloop help` lists them")
		},
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.AddCommand(newServe(s), newInfer(s), newRuntime(s), newPhantom(s), newApp(s), newHarmonize(s), newCorrupt(s), newVersion(s))
	root.AddCommand(newTrain(s), newCrossval(s), newSimulate(s))
	root.AddCommand(newModel(s), newLoop(s), newDemo(s), newData(s))
	root.AddCommand(newConvert(s), newInspect(s))
	root.AddCommand(newEvaluate(s), newPostprocessAblation(s), newTriage(s))
	root.InitDefaultHelpCmd()
	return root
}

// noArgs refuses arguments that no flag took.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unexpected argument %q", args[0])
	}
	return nil
}

// group makes a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	var names []string
	for _, c := range commands {
		names = append(names, c.Name())
	}
	g := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q; %s has %s", use+" "+args[0], use, strings.Join(names, ", "))
			}
			return usagef("%s needs one of %s", use, strings.Join(names, ", "))
		},
	}
	g.AddCommand(commands...)
	return g
}
