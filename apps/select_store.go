package apps

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/strategies"
)

// looksFile keeps observations over restarts: one line of JSON for each, the
// last one of an image counts. It is written again without the others when they
// outnumber those that count. Observations can be made again, so the file is
// not synced and a line that was cut off is left out.
type looksFile struct {
	path string

	mu    sync.Mutex
	f     *os.File       // nil: not open
	last  map[string]int // image → number of its line
	lines int            // in the file
	gone  int            // images that have left since it was written anew
}

// keptLook is a line of the file.
type keptLook struct {
	Stamp string                  `json:"stamp"` // of the image's files; see fileStamp
	Look  *strategies.Observation `json:"look"`
}

const (
	looksSpare = 1000    // lines that do not count before the file is written anew
	maxLook    = 1 << 20 // bytes of a line
)

// fileStamp tells one content of an image's files from another.
func fileStamp(img datastore.Image) (string, error) {
	var b bytes.Buffer
	for _, name := range img.Files {
		info, err := os.Stat(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%d-%d ", info.ModTime().UnixNano(), info.Size())
	}
	return b.String(), nil
}

// load calls fn with the last line of every image. fn tells whether it counts
// still.
func (l *looksFile) load(fn func(keptLook) bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last, l.lines = map[string]int{}, 0
	err := l.each(func(n int, line []byte) error {
		var k struct {
			Look struct {
				Image string `json:"image"`
			} `json:"look"`
		}
		if json.Unmarshal(line, &k) == nil && k.Look.Image != "" {
			l.last[k.Look.Image] = n
		}
		l.lines = n + 1
		return nil
	})
	if err != nil {
		return err
	}
	return l.each(func(n int, line []byte) error {
		var k keptLook
		if json.Unmarshal(line, &k) != nil || k.Look == nil || l.last[k.Look.Image] != n {
			return nil //nolint:nilerr // it was cut off
		}
		if !fn(k) {
			delete(l.last, k.Look.Image)
			l.gone++
		}
		return nil
	})
}

// each calls fn with every line. A line without its end is none.
func (l *looksFile) each(fn func(n int, line []byte) error) error {
	f, err := os.Open(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	r := bufio.NewReaderSize(f, maxLook)
	for n := 0; ; n++ {
		line, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, bufio.ErrBufferFull): // nothing of ours
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = r.ReadSlice('\n')
			}
			if err != nil {
				return nil // the end of a damaged file
			}
			line = nil
		case err != nil:
			return err
		}
		if err := fn(n, line); err != nil {
			return err
		}
	}
}

// add appends a line.
func (l *looksFile) add(k keptLook) error {
	line, err := json.Marshal(k)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		if err := l.open(); err != nil {
			return err
		}
	}
	if _, err := l.f.Write(append(line, '\n')); err != nil {
		return err
	}
	l.last[k.Look.Image] = l.lines
	l.lines++
	return nil
}

// open opens the file for appending. A line that a kill cut off is ended.
func (l *looksFile) open() error {
	if err := os.MkdirAll(filepath.Dir(l.path), 0o750); err != nil {
		return err
	}
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if info, serr := f.Stat(); serr == nil && info.Size() > 0 {
		end := make([]byte, 1)
		if _, rerr := f.ReadAt(end, info.Size()-1); rerr == nil && end[0] != '\n' {
			if _, err = f.WriteString("\n"); err != nil {
				return errors.Join(err, f.Close())
			}
			l.lines++
		}
	}
	l.f = f
	return nil
}

// forget makes an image's line count no longer.
func (l *looksFile) forget(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.last[id]; ok {
		delete(l.last, id)
		l.gone++
	}
}

// tidy writes the file anew when images have left, or too many lines do not
// count.
func (l *looksFile) tidy() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if spare := l.lines - len(l.last); l.gone == 0 && spare <= max(looksSpare, len(l.last)) {
		return nil
	}
	if err := l.close(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(l.path), 0o750); err != nil {
		return err
	}
	last, lines := make(map[string]int, len(l.last)), 0
	err := atomicfile.Write(l.path, 0o640, func(w io.Writer) error {
		b := bufio.NewWriter(w)
		err := l.each(func(n int, line []byte) error {
			var k struct {
				Look struct {
					Image string `json:"image"`
				} `json:"look"`
			}
			if json.Unmarshal(line, &k) != nil {
				return nil //nolint:nilerr // it was cut off
			}
			if at, ok := l.last[k.Look.Image]; !ok || at != n {
				return nil
			}
			last[k.Look.Image] = lines
			lines++
			_, err := b.Write(line)
			return err
		})
		return errors.Join(err, b.Flush())
	})
	if err != nil {
		return err
	}
	l.last, l.lines, l.gone = last, lines, 0
	return nil
}

// close needs the lock.
func (l *looksFile) close() error {
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	return err
}

// Close closes the file.
func (l *looksFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.close()
}
