package jobs

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

// recordFile holds the record in a task's folder.
const recordFile = "task.json"

// Folder is a Journal with a folder per task: <Folder>/<id>/task.json. The work
// may put its own files beside the record; they go with it.
type Folder string

var _ Journal = Folder("")

// kept is a record on disk.
type kept struct {
	ID       string       `json:"id"`
	Status   Status       `json:"status"`
	Request  *ordered.Map `json:"request"`
	Start    time.Time    `json:"start"`
	End      *time.Time   `json:"end,omitempty"`
	Details  []string     `json:"details,omitempty"`
	Attached bool         `json:"attached,omitempty"`
	Resumes  int          `json:"resumes,omitempty"`
}

// Dir returns the folder of a task.
func (f Folder) Dir(id string) string { return filepath.Join(string(f), id) }

// Save implements Journal. A record that has ended and finds no room on the disk
// is dropped instead: the task must not be taken up again. Faults: NoSpace,
// Unavailable for a read-only folder.
func (f Folder) Save(t Task) error {
	k := kept{ID: t.ID, Status: t.Status, Request: t.Request, Start: t.Start, Details: t.Details, Attached: t.Attached, Resumes: t.Resumes}
	if !t.End.IsZero() {
		k.End = &t.End
	}
	data, err := ordered.Marshal(k)
	if err != nil {
		return fault.Wrap(fault.Internal, err, "the record of the task cannot be written")
	}
	name := filepath.Join(f.Dir(t.ID), recordFile)
	err = os.MkdirAll(f.Dir(t.ID), 0o750)
	if err == nil {
		err = atomicfile.Write(name, 0o640, func(w io.Writer) error {
			_, err := w.Write(append(data, '\n'))
			return err
		})
	}
	if err != nil && t.Finished() {
		err = errors.Join(err, os.Remove(name))
	}
	return diskFault(err)
}

func diskFault(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.Wrap(fault.NoSpace, err, "keeping the task: the server's disk is full")
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return fault.Wrap(fault.Unavailable, err, "keeping the task: the server's folder is read only")
	}
	return fault.Wrap(fault.Internal, err, "keeping the task failed; the server's log says why")
}

// Forget implements Journal.
func (f Folder) Forget(id string) error {
	if !taskID.MatchString(id) {
		return fault.New(fault.Invalid, "%q is no id of a task", id)
	}
	return os.RemoveAll(f.Dir(id))
}

var taskID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// Load returns the records in the order of submission. Folders without a record
// that can be read are left alone and named in the log.
func (f Folder) Load(log *slog.Logger) ([]Task, error) {
	entries, err := os.ReadDir(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, diskFault(err)
	}
	var tasks []Task
	for _, e := range entries {
		if !e.IsDir() || !taskID.MatchString(e.Name()) {
			continue
		}
		t, err := f.read(e.Name())
		if err != nil {
			log.Warn("record of a task cannot be read", "task", e.Name(), "err", err)
			continue
		}
		tasks = append(tasks, t)
	}
	slices.SortStableFunc(tasks, func(a, b Task) int {
		if c := a.Start.Compare(b.Start); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return tasks, nil
}

func (f Folder) read(id string) (Task, error) {
	data, err := os.ReadFile(filepath.Join(f.Dir(id), recordFile))
	if err != nil {
		return Task{}, err
	}
	var k kept
	if err := json.Unmarshal(data, &k); err != nil {
		return Task{}, err
	}
	if k.ID != id || k.Request == nil || !slices.Contains([]Status{Submitted, Running, Done, Failed, Stopped}, k.Status) {
		return Task{}, errors.New("it is not complete")
	}
	t := Task{ID: id, Status: k.Status, Request: k.Request, Start: k.Start, Details: k.Details, Attached: k.Attached, Resumes: k.Resumes}
	if k.End != nil {
		t.End = *k.End
	}
	return t, nil
}
