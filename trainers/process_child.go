package trainers

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"

	"github.com/voxloop/voxloop/internal/fault"
)

// child is a running program. Its pipes are files of our own rather than those
// of exec.Cmd: waiting for the program must not wait for grandchildren that
// hold them open.
type child struct {
	cmd          *exec.Cmd
	in, out, err *os.File      // our ends of its standard streams
	done         chan struct{} // closed when it has ended and been waited for

	hang sync.Once

	mu     sync.Mutex
	gone   bool // waited for: its id may belong to another process
	killed bool // by us, with SIGKILL
	exit   error
}

// spawn starts the program.
func (p *Process) spawn() (*child, error) {
	if len(p.Command) == 0 || p.Command[0] == "" {
		return nil, fault.New(fault.Invalid, "the trainer has no command")
	}
	c := &child{cmd: exec.Command(p.Command[0], p.Command[1:]...), done: make(chan struct{})} //nolint:gosec,noctx // the operator names the command; Train ends it
	c.cmd.Dir = p.Dir
	if len(p.Env) > 0 {
		c.cmd.Env = append(os.Environ(), p.Env...)
	}
	c.cmd.SysProcAttr = processAttributes()
	theirs, err := c.pipes()
	if err == nil {
		started := make(chan error, 1)
		go c.live(p.Nice, started)
		err = <-started
	}
	for _, f := range theirs {
		_ = f.Close()
	}
	if err != nil {
		for _, f := range []*os.File{c.in, c.out, c.err} {
			if f != nil {
				_ = f.Close()
			}
		}
		return nil, startFault(err, filepath.Base(p.Command[0]))
	}
	return c, nil
}

// pipes connects the standard streams and returns the program's ends.
func (c *child) pipes() (theirs []*os.File, err error) {
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.in, c.cmd.Stdin, theirs = inW, inR, append(theirs, inR)
	outR, outW, err := os.Pipe()
	if err != nil {
		return theirs, err
	}
	c.out, c.cmd.Stdout, theirs = outR, outW, append(theirs, outW)
	errR, errW, err := os.Pipe()
	if err != nil {
		return theirs, err
	}
	c.err, c.cmd.Stderr, theirs = errR, errW, append(theirs, errW)
	return theirs, nil
}

func startFault(err error, name string) error {
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return fault.Wrap(fault.Unavailable, err, "the trainer cannot be started: the program %s is not installed", name)
	case errors.Is(err, fs.ErrPermission):
		return fault.Wrap(fault.Unavailable, err, "the trainer cannot be started: %s is not executable", name)
	case errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.EAGAIN):
		return fault.Wrap(fault.Unavailable, err, "the trainer cannot be started: the system has no memory or processes left")
	}
	return fault.Wrap(fault.Unavailable, err, "the trainer %s cannot be started; the log says why", name)
}

// live starts the program and waits for its end. It has a thread of its own,
// which is never given back: the program inherits the thread's low priority, and
// on Linux it is killed when the thread that started it ends, which must not be
// sooner than this process does.
func (c *child) live(nice int, started chan<- error) {
	runtime.LockOSThread() // not unlocked: the thread ends with this goroutine
	if nice == 0 {
		nice = defaultNice
	}
	lowerThread(nice)
	if err := c.cmd.Start(); err != nil {
		started <- err
		return
	}
	lowerProcess(c.cmd.Process.Pid, nice)
	started <- nil
	if !awaitExit(c.cmd.Process.Pid) {
		c.exit = c.cmd.Wait()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// What it started ends with it. Where it has not been waited for yet, no
	// other group can have its id.
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	if c.cmd.ProcessState == nil {
		c.exit = c.cmd.Wait()
	}
	c.gone = true
	close(c.done)
}

// signal sends a signal to the program and to what it started.
func (c *child) signal(s syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.gone {
		_ = syscall.Kill(-c.cmd.Process.Pid, s)
	}
}

func (c *child) kill() {
	c.mu.Lock()
	c.killed = true
	c.mu.Unlock()
	c.signal(syscall.SIGKILL)
}

// hangUp closes the program's standard input: the signal to stop.
func (c *child) hangUp() { c.hang.Do(func() { _ = c.in.Close() }) }
