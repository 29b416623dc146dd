package ort

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/voxloop/voxloop/internal/fault"
)

// pips are the ways to call pip, in the order they are tried.
var pips = [][]string{{"python3", "-m", "pip"}, {"pip3"}, {"pip"}, {"python", "-m", "pip"}}

// watchEvery is how often the growing download is looked at.
const watchEvery = 200 * time.Millisecond

// download lets pip fetch the wheel below tmp, compares size and SHA-256, and
// returns the file. pip keeps the user's settings: index, proxy, certificates.
func download(ctx context.Context, w wheel, tmp string, p *progress) (string, error) {
	pip, err := findPip(ctx)
	if err != nil {
		return "", err
	}
	dest, scratch := filepath.Join(tmp, "wheel"), filepath.Join(tmp, "pip")
	for _, d := range []string{dest, scratch} {
		if err := os.Mkdir(d, 0o750); err != nil {
			return "", err
		}
	}
	args := append(pip[1:len(pip):len(pip)], "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir",
		"--disable-pip-version-check", "--no-input", "--progress-bar", "off", "--dest", dest,
		"--python-version", wheelPython, "--implementation", "cp", "--abi", wheelABI, "--platform", w.platform,
		w.project+"=="+w.version)
	cmd := command(ctx, pip[0], args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+scratch)
	var said bytes.Buffer
	cmd.Stderr = &said
	p.phase("downloading", w.size)
	stop := watch(tmp, p)
	err = cmd.Run()
	stop()
	if err != nil {
		return "", fault.Wrap(fault.Unavailable, &pipError{err, lastLine(said.String())},
			"pip could not download ONNX Runtime (%s %s): check the network and pip's settings, or name a library with --ort PATH", w.project, w.version)
	}
	file := filepath.Join(dest, w.name())
	return file, checkWheel(ctx, w, file)
}

// pipError is a failed pip with the last line it wrote.
type pipError struct {
	err  error
	said string
}

func (e *pipError) Error() string { return e.err.Error() + ": " + e.said }
func (e *pipError) Unwrap() error { return e.err }

// findPip returns the first way to call pip that answers.
func findPip(ctx context.Context) ([]string, error) {
	for _, pip := range pips {
		args := append(pip[1:len(pip):len(pip)], "--version")
		if command(ctx, pip[0], args...).Run() == nil {
			return pip, nil
		}
	}
	return nil, fault.New(fault.Unavailable,
		"pip is needed to download ONNX Runtime and was not found: install it (on Debian and Ubuntu the package python3-pip), or name a library with --ort PATH")
}

// command returns a program that ctx stops together with all its children.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // names and arguments are this package's own
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// watch reports the bytes below dir to p until the returned function is
// called, which waits for the watcher.
func watch(dir string, p *progress) (stop func()) {
	var wg sync.WaitGroup
	quit := make(chan struct{})
	wg.Go(func() {
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				p.set(folderSize(dir))
			}
		}
	})
	return func() { close(quit); wg.Wait() }
}

func folderSize(dir string) int64 {
	var n int64
	// Files come and go while pip works; what cannot be read now does not count.
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error { // the callback returns nil
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}

func checkWheel(ctx context.Context, w wheel, file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "pip did not leave the expected file %s", w.name())
	}
	if info.Size() != w.size {
		return fault.New(fault.Unavailable, "the downloaded %s has %d bytes, %d are expected: it was not used; try again", w.name(), info.Size(), w.size)
	}
	sum, err := hashFile(ctx, file)
	if err != nil {
		return err
	}
	if sum != w.sha256 {
		return fault.New(fault.Unavailable, "the downloaded %s has SHA-256 %s, %s is expected: it was not used; check pip's index", w.name(), sum, w.sha256)
	}
	return nil
}

// hashFile returns the SHA-256 of a file in hexadecimal.
func hashFile(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path) //nolint:gosec // below the cache folder
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, &ctxReader{ctx, f}); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// ctxReader stops reading when ctx ends.
type ctxReader struct {
	ctx context.Context //nolint:containedctx // lives within one call
	r   io.Reader
}

func (r *ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return strings.TrimSpace(s[strings.LastIndexByte(s, '\n')+1:])
}
