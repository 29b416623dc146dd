//go:build linux

package cli_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/voxloop/voxloop/internal/cli"
)

// terminal returns a pseudo-terminal and a function that closes it and returns
// what was shown.
func terminal(t *testing.T) (tty *os.File, shown func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here: ", err)
	}
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(filepath.Join("/dev/pts", strconv.Itoa(n)), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	text := make(chan string)
	go func() {
		b, _ := io.ReadAll(master) // ends with an error when the other side is closed
		text <- string(b)
	}()
	return tty, func() string {
		if err := tty.Close(); err != nil {
			t.Error(err)
		}
		defer func() { _ = master.Close() }()
		return <-text
	}
}

// A terminal shows how far the work is; the bar is gone before anything else is
// written.
func TestProgressOnATerminal(t *testing.T) {
	pred, truth := cohort(t)
	tty, shown := terminal(t)
	var out bytes.Buffer
	args := []string{"evaluate", "--pred", pred, "--truth", truth, "--out", t.TempDir()}
	code := cli.Run(t.Context(), args, strings.NewReader(""), &out, tty)
	text := shown()
	if code != 0 || !strings.Contains(text, "evaluating") || !strings.Contains(text, "/3)") {
		t.Errorf("exit %d, shown %q", code, text)
	}
	if last := text[strings.LastIndex(text, "evaluating"):]; !strings.HasSuffix(last, "\r") || strings.TrimSpace(last[strings.Index(last, "\r"):]) != "" {
		t.Errorf("the bar stays: %q", last)
	}
}

// after ends a context when so many lines have been written.
type after struct {
	lines int
	stop  context.CancelFunc
}

// Write implements io.Writer.
func (a *after) Write(p []byte) (int, error) {
	if a.lines -= bytes.Count(p, []byte("\n")); a.lines <= 0 {
		a.stop()
	}
	return len(p), nil
}

// Work on many files that is stopped half-way leaves whole files only.
func TestCorruptAllStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	dir := t.TempDir()
	var errOut bytes.Buffer
	code := cli.Run(ctx, []string{"corrupt", "--image", phantomFile(t), "--all", dir}, strings.NewReader(""), &after{3, stop}, &errOut)
	if code != 1 || errOut.String() != "voxloop: stopped before it was done\n" {
		t.Errorf("exit %d: %s", code, errOut.String())
	}
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files++
			readImage(t, path)
		}
		return err
	})
	if err != nil || files != 3 {
		t.Errorf("%d files, %v", files, err)
	}
}
