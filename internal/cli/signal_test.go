package cli_test

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/cli"
	"github.com/voxloop/voxloop/internal/phantom"
)

// A stopped command says so in one line and exits 1.
func TestStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	image := filepath.Join(studies(t), phantom.Name(1))
	cancel()
	for _, args := range []string{
		"phantom --n 1000 --out " + filepath.Join(t.TempDir(), "x"),
		"infer --model hippocampus --image " + image + " --out " + filepath.Join(t.TempDir(), "x.nii"),
	} {
		var out, errOut bytes.Buffer
		code := cli.Run(ctx, strings.Fields(args), strings.NewReader(""), &out, &errOut)
		if code != 1 || errOut.String() != "voxloop: stopped before it was done\n" {
			t.Errorf("%s: exit code %d, %q", args, code, errOut.String())
		}
	}
}
