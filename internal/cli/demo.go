package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/voxloop/voxloop/internal/demo"
	"github.com/voxloop/voxloop/internal/fault"
)

const (
	demoImages = 24
	demoTime   = 9*time.Minute + 30*time.Second
)

func newDemo(s streams) *cobra.Command {
	var dir string
	var port int
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show the loop on synthetic images: label, train, judge, publish, refuse, roll back",
		Long: `Starts a server on synthetic images that nobody has labelled, with a model that
knows nothing, and lets an annotator who knows the truth label what the server
asks for. The server trains on schedule and publishes what its gate finds better.
Then a harmed candidate is offered, which must be refused, and the version before
is brought back. On a terminal the server goes on until Ctrl-C; elsewhere, and
where CI is set, the command ends by itself. Its last line is
published=N refused=N holdout_dice=… rollback_ms=…
and its exit code 0 only when all of that was seen to work.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			stay := isTerminal(s.out) && os.Getenv("CI") == ""
			return runDemo(c.Context(), s, dir, port, stay)
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "folder for images, app and the server's state, empty or new (default: a temporary one, deleted at the end)")
	c.Flags().IntVar(&port, "port", 0, "port of the server on this machine (default: any free one)")
	return c
}

func runDemo(ctx context.Context, s streams, dir string, port int, stay bool) (err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "voxloop-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	} else if dir, err = emptyFolder(dir); err != nil {
		return err
	}
	begin := time.Now()
	say := func(format string, args ...any) {
		fmt.Fprintf(s.out, "%5.1f s  %s\n", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
	}
	f, err := demo.Prepare(ctx, dir, demoImages, 7)
	if err != nil {
		return err
	}
	p, err := startDemo(ctx, f, filepath.Join(dir, "server.log"), port)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && ctx.Err() == nil {
			p.showLog(s.err)
		}
		err = errors.Join(err, p.stop())
	}()
	say("%d synthetic images in %s, a server at %s", demoImages, f.Studies, p.client.Base)
	limited, cancel := context.WithTimeout(ctx, demoTime)
	defer cancel()
	if err := p.client.Ready(limited, p.alive); err != nil {
		return err
	}
	r, err := demo.Run(limited, p.client, f, say)
	if err == nil && stay {
		say("That is all. The server is at %s until you press Ctrl-C.", p.client.Base)
		select {
		case <-ctx.Done():
		case <-p.done:
		}
	}
	fmt.Fprintln(s.out, r)
	return err
}

// emptyFolder makes a folder, or refuses one with something in it.
func emptyFolder(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return dir, err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return dir, err
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		err = fault.New(fault.Conflict, "%s is not empty: the demo needs a folder of its own", dir)
	}
	return dir, err
}

// demoServer is this program, serving.
type demoServer struct {
	client *demo.Client
	cmd    *exec.Cmd
	log    string
	done   chan struct{}
	err    error // of its end; readable after done
}

// startDemo starts this program as a server whose log goes to a file.
func startDemo(ctx context.Context, f demo.Folder, log string, port int) (*demoServer, error) {
	if port == 0 {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		port = l.Addr().(*net.TCPAddr).Port // that is its type
		if err := l.Close(); err != nil {
			return nil, err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	out, err := os.Create(log) //nolint:gosec // in the demo's folder
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()                            // the server has its own handle
	cmd := exec.Command(self, f.Arguments(strconv.Itoa(port))...) //nolint:gosec,noctx // this program; stop ends it in an orderly way
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the demo, which stops it
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &demoServer{client: &demo.Client{Base: "http://127.0.0.1:" + strconv.Itoa(port)}, cmd: cmd, log: log, done: make(chan struct{})}
	go func() { p.err = cmd.Wait(); close(p.done) }()
	return p, nil
}

// alive is an error once the server has ended.
func (p *demoServer) alive() error {
	select {
	case <-p.done:
		return fault.Wrap(fault.Unavailable, p.err, "the server has ended")
	default:
		return nil
	}
}

// stop ends the server and waits for it.
func (p *demoServer) stop() error {
	if p.alive() != nil {
		return p.err
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	return p.err
}

// showLog prints the end of the server's log.
func (p *demoServer) showLog(w io.Writer) {
	const most = 4000
	data, err := os.ReadFile(p.log)
	if err != nil {
		return
	}
	fmt.Fprintf(w, "the end of the server's log:\n%s\n", data[max(0, len(data)-most):])
}
