// Command voxloop serves images to annotators' viewers over the MONAI Label
// protocol and segments them with networks. See `voxloop help`.
package main

import (
	"context"
	"os"

	"github.com/voxloop/voxloop/internal/cli"
)

func main() {
	os.Exit(cli.Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
