package dataset

import (
	"context"
	"crypto/md5" //nolint:gosec // what publishers state; not a protection against a forger
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/voxloop/voxloop/internal/fault"
)

// RecordName is the file at the top of a studies folder that tells where it
// comes from and what it held.
const RecordName = "voxloop-dataset.json"

// recordFormat is the version of the record's form.
const recordFormat = 1

// Record says what fetch made a studies folder of, and what it wrote.
type Record struct {
	Format  int    `json:"format"`
	Name    string `json:"name"`
	Title   string `json:"title"`
	Licence string `json:"licence,omitempty"`
	Cite    string `json:"cite,omitempty"`
	Home    string `json:"home,omitempty"`

	Archive    *Archive       `json:"archive,omitempty"` // nil: a folder
	Unlabelled bool           `json:"unlabelled"`        // images without labels were asked for
	Wanted     map[string]int `json:"wanted,omitempty"`  // classes that were asked for, as Options.Labels
	Channels   []string       `json:"channels,omitempty"`
	Labels     map[string]int `json:"labels"`
	Cases      []Case         `json:"cases"`
	LeftOut    []Left         `json:"left_out,omitempty"`
	Files      []File         `json:"files"`
}

// Archive is what the files came from.
type Archive struct {
	Name   string `json:"name"`
	URL    string `json:"url,omitempty"` // where it was downloaded from
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	MD5    string `json:"md5"`
}

// File is one file of a studies folder.
type File struct {
	Path   string `json:"path"` // from the folder, with slashes
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// ReadRecord reads the record of a studies folder. Errors are NotFound where
// there is none, Invalid where it cannot be read.
func ReadRecord(dir string) (*Record, error) {
	data, err := os.ReadFile(filepath.Join(dir, RecordName)) //nolint:gosec // the user names the folder
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(fault.NotFound, err, "%s has no %s: it was not made by voxloop data fetch", dir, RecordName)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "%s cannot be read", RecordName)
	}
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "%s cannot be read", RecordName)
	}
	if r.Format != recordFormat {
		return nil, fault.New(fault.Invalid, "%s has the form %d; this voxloop knows %d", RecordName, r.Format, recordFormat)
	}
	for _, f := range r.Files {
		if !filepath.IsLocal(filepath.FromSlash(f.Path)) {
			return nil, fault.New(fault.Invalid, "%s names the file %.100q, which is not in the folder", RecordName, f.Path)
		}
	}
	return &r, nil
}

// listFiles hashes the cases' files, brings them to the disk and returns them
// in the order of their paths.
func listFiles(ctx context.Context, dir string, cases []Case, workers int) ([]File, error) {
	var files []File
	for _, c := range cases {
		for _, name := range c.Images {
			files = append(files, File{Path: name})
		}
		if c.Label != "" {
			files = append(files, File{Path: c.Label})
		}
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, workers))
	for i := range files {
		g.Go(func() error {
			s, err := hashing{sync: true}.file(ctx, filepath.Join(dir, filepath.FromSlash(files[i].Path)))
			files[i].Bytes, files[i].SHA256 = s.bytes, s.sha256
			return diskFault(err, "the record")
		})
	}
	return files, g.Wait()
}

// sums are the checksums of a file.
type sums struct {
	bytes       int64
	sha256, md5 string // md5 where it was asked for
}

// hashing says how a file is read.
type hashing struct {
	sync     bool // bring it to the disk, too
	md5      bool
	progress func(done int64)
}

func (h hashing) file(ctx context.Context, path string) (sums, error) {
	f, err := os.Open(path) //nolint:gosec // a file of the studies folder, or the user's archive
	if err != nil {
		return sums{}, err
	}
	defer func() { _ = f.Close() }() // only read
	if h.sync {
		if err := f.Sync(); err != nil {
			return sums{}, err
		}
	}
	s, m := sha256.New(), md5.New() //nolint:gosec // as above
	to := io.Writer(s)
	if h.md5 {
		to = io.MultiWriter(s, m)
	}
	buf := make([]byte, 1<<20)
	n := int64(0)
	for {
		if err := ctx.Err(); err != nil {
			return sums{}, fault.Wrap(fault.Canceled, err, "reading was stopped")
		}
		k, err := f.Read(buf)
		if k > 0 {
			_, _ = to.Write(buf[:k]) // hashes never fail
			n += int64(k)
			if h.progress != nil {
				h.progress(n)
			}
		}
		if errors.Is(err, io.EOF) {
			out := sums{bytes: n, sha256: hex.EncodeToString(s.Sum(nil))}
			if h.md5 {
				out.md5 = hex.EncodeToString(m.Sum(nil))
			}
			return out, nil
		}
		if err != nil {
			return sums{}, fmt.Errorf("read %s: %w", filepath.Base(path), err)
		}
	}
}

// writeJSON writes v as an indented document.
func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return diskFault(atomicWrite(path, append(data, '\n')), "the record")
}
