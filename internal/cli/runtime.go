package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ort"
)

func newRuntime(s streams) *cobra.Command {
	return group("runtime", "Install or show ONNX Runtime, the library that runs networks", newRuntimeInstall(s), newRuntimeShow(s))
}

// runtimeFlags are shared by both commands.
type runtimeFlags struct {
	gpu, json bool
	path      string
}

func (f *runtimeFlags) register(c *cobra.Command) {
	c.Flags().BoolVar(&f.gpu, "gpu", false, "the build for NVIDIA graphics cards")
	c.Flags().StringVar(&f.path, "ort", "", "an own library (or its folder) instead of the installed one")
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
}

// options returns what the flags ask for. Progress goes to w.
func (f *runtimeFlags) options(w io.Writer) (ort.InstallOptions, error) {
	o := ort.InstallOptions{Path: f.path, Progress: w, Logger: quietLogger(w)}
	if f.gpu {
		o.Variant = ort.VariantGPU
	}
	if f.gpu && f.path != "" {
		return o, usagef("--gpu chooses a build to install, --ort names an own library: give one of them")
	}
	return o, nil
}

// runtimeInfo is what `voxloop runtime … --json` prints.
type runtimeInfo struct {
	Path    string   `json:"path"`
	Version string   `json:"version"`
	Variant string   `json:"variant"`
	Devices []string `json:"devices"`
}

func newRuntimeInstall(s streams) *cobra.Command {
	var f runtimeFlags
	c := &cobra.Command{
		Use:   "install",
		Short: "Install ONNX Runtime into the user's cache folder, unless it is there",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o, err := f.options(s.err)
			if err != nil {
				return err
			}
			lib, err := ort.Ensure(c.Context(), o)
			if err != nil {
				return err
			}
			return showRuntime(s.out, lib, f.json)
		},
	}
	f.register(c)
	return c
}

func newRuntimeShow(s streams) *cobra.Command {
	var f runtimeFlags
	c := &cobra.Command{
		Use:   "show",
		Short: "Show the installed ONNX Runtime and the devices that load with it",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			o, err := f.options(s.err)
			if err != nil {
				return err
			}
			lib, ok := ort.Installed(o)
			if !ok && f.path != "" {
				return fault.New(fault.NotFound, "no ONNX Runtime library at %s", f.path)
			}
			if !ok {
				return fault.New(fault.NotFound, "ONNX Runtime is not installed: run `voxloop runtime install`")
			}
			return showRuntime(s.out, lib, f.json)
		},
	}
	f.register(c)
	return c
}

// showRuntime loads the library: what it prints is what really works here.
func showRuntime(w io.Writer, lib ort.Library, asJSON bool) error {
	rt, err := ort.Open(lib)
	if err != nil {
		return err
	}
	info := runtimeInfo{Path: lib.Path, Version: rt.Library().Version, Variant: lib.Variant, Devices: rt.Providers()}
	if asJSON {
		return printJSON(w, info)
	}
	_, err = fmt.Fprintf(w, "ONNX Runtime %s (%s), devices: %s\n%s\n", info.Version, info.Variant, strings.Join(info.Devices, ", "), info.Path)
	return err
}

// quietLogger logs warnings and errors only: the commands that end by
// themselves say what they did on standard output.
func quietLogger(w io.Writer) *slog.Logger { return slog.New(newHandler(w, "auto", "warning")) }

// lazyRuntime returns a function that finds or installs the library that path
// (an own one; may be empty) and device need and opens it.
func lazyRuntime(path, device string, progress io.Writer, log *slog.Logger) func(context.Context) (*ort.Runtime, error) {
	return func(ctx context.Context) (*ort.Runtime, error) {
		o := ort.InstallOptions{Path: path, Progress: progress, Logger: log}
		if device == ort.CUDA {
			o.Variant = ort.VariantGPU
		}
		lib, err := ort.Ensure(ctx, o)
		if err != nil {
			return nil, err
		}
		return ort.Open(lib)
	}
}
