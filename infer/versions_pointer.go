package infer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/voxloop/voxloop/internal/atomicfile"
)

const (
	pointerFile = "service.json"
	historyFile = "history.jsonl"

	maxPrevious = 32 // how far back a rollback can go
)

// pointer says what is in service. It is replaced as a whole and synced, so
// that after a kill at any moment it is the one before or the one after.
type pointer struct {
	Format   int               `json:"format"`            // 1
	Version  string            `json:"version"`           // in service; AppVersion for the app's own
	Previous []string          `json:"previous"`          // in service before that, latest first
	Pinned   []string          `json:"pinned"`            // never retired
	Refused  map[string]string `json:"refused,omitempty"` // version → why it failed its last test
	Last     *Swap             `json:"last,omitempty"`    // the swap that led here; the history has it too, unless a kill came between
}

func (p *pointer) clone() *pointer {
	c := *p
	c.Previous, c.Pinned = slices.Clone(p.Previous), slices.Clone(p.Pinned)
	c.Refused = make(map[string]string, len(p.Refused))
	maps.Copy(c.Refused, p.Refused)
	return &c
}

// forward makes id the version in service.
func (p *pointer) forward(id string) {
	before := slices.DeleteFunc(append([]string{p.Version}, p.Previous...), func(s string) bool { return s == id })
	p.Version, p.Previous = id, before[:min(len(before), maxPrevious)]
}

// back makes an earlier version the one in service; what came after it is
// forgotten.
func (p *pointer) back(id string) {
	p.Version = id
	if k := slices.Index(p.Previous, id); k >= 0 {
		p.Previous = slices.Clone(p.Previous[k+1:])
	} else {
		p.Previous = nil
	}
}

// readPointer returns the pointer, the app's own where none was written. An
// unreadable one is made anew from the history; damaged is then true.
func readPointer(dir string) (p *pointer, damaged bool, err error) {
	p = &pointer{Format: 1, Version: AppVersion}
	data, err := os.ReadFile(filepath.Join(dir, pointerFile)) //nolint:gosec // a fixed name in the state folder
	if errors.Is(err, fs.ErrNotExist) {
		return p, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	var read pointer
	if json.Unmarshal(data, &read) == nil && read.Format == 1 && read.Version != "" {
		return &read, false, nil
	}
	swaps, err := readHistory(dir)
	if err != nil {
		return nil, true, err
	}
	for _, s := range swaps {
		if s.Refused == "" {
			p.forward(s.To)
			p.Last = &s
		}
	}
	return p, true, nil
}

// write replaces the pointer and syncs file and folder.
func (p *pointer) write(dir string) error {
	err := atomicfile.Write(filepath.Join(dir, pointerFile), 0o644, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		return e.Encode(p)
	})
	if err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // a folder of ours
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// appendHistory adds a line. One that a kill has torn is closed first.
func appendHistory(dir string, s Swap) (err error) {
	line, err := json.Marshal(s)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, historyFile), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644) //nolint:gosec // a fixed name in the state folder
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	last := make([]byte, 1)
	if info, err := f.Stat(); err == nil && info.Size() > 0 {
		if _, err := f.ReadAt(last, info.Size()-1); err == nil && last[0] != '\n' {
			line = append([]byte{'\n'}, line...)
		}
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		return err
	}
	return f.Sync()
}

// readHistory returns the swaps, oldest first; torn lines are left out.
func readHistory(dir string) ([]Swap, error) {
	data, err := os.ReadFile(filepath.Join(dir, historyFile)) //nolint:gosec // a fixed name in the state folder
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Swap
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var s Swap
		if json.Unmarshal(lines.Bytes(), &s) == nil && s.To != "" {
			out = append(out, s)
		}
	}
	return out, lines.Err()
}
