package trainers

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/errgroup"

	"github.com/voxloop/voxloop/internal/fault"
)

// Sources are everything that decides a trained model beside the program, its
// library and the machine.
type Sources struct {
	Model   map[string]string `json:"model_files"` // SHA-256 by name in the folder that training began from
	Data    string            `json:"data"`        // fingerprint of all cases with their roles
	Cases   []CaseRecord      `json:"cases"`       // those that were used
	Config  Config            `json:"config"`      // defaults in place
	Device  string            `json:"device"`
	Threads int               `json:"threads"`
}

// CaseRecord is a case as it was trained on.
type CaseRecord struct {
	ID           string   `json:"id"`
	Subject      string   `json:"subject,omitempty"`
	Role         Role     `json:"role"`
	Images       []string `json:"images_sha256"`
	Label        string   `json:"label_sha256"`
	LabelVersion int      `json:"label_version,omitempty"`
}

// sourcesOf reads and sums up all files.
func sourcesOf(ctx context.Context, r Request, c Config, u usable, threads int) (Sources, error) {
	s := Sources{Config: c, Device: cmp.Or(r.Device, "cpu"), Threads: threads}
	var err error
	if s.Model, err = folderSums(ctx, r.Model); err != nil {
		return s, err
	}
	used := append(append([]Case(nil), u.train...), u.validate...)
	s.Cases = make([]CaseRecord, len(used))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(c.Workers, 1))
	for i, k := range used {
		g.Go(func() error {
			var err error
			s.Cases[i], err = caseRecord(gctx, k)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return s, err
	}
	s.Data = hashJSON(s.Cases)
	return s, nil
}

func (s Sources) hash() string { return hashJSON(s) }

// hashJSON is the SHA-256 of a value as JSON, in hexadecimal digits.
func hashJSON(v any) string {
	h := sha256.New()
	if err := json.NewEncoder(h).Encode(v); err != nil {
		panic(err) // plain structs of finite numbers always have a form
	}
	return hex.EncodeToString(h.Sum(nil))
}

func caseRecord(ctx context.Context, c Case) (CaseRecord, error) {
	r := CaseRecord{ID: c.ID, Subject: c.Subject, Role: c.Role, LabelVersion: c.LabelVersion}
	for _, name := range append([]string{c.Label}, c.Images...) {
		sum, err := fileSum(ctx, name)
		if err != nil {
			return r, fault.Wrap(fault.NotFound, err, "case %s: a file cannot be read any more", c.ID)
		}
		r.Images = append(r.Images, sum)
	}
	r.Label, r.Images = r.Images[0], r.Images[1:]
	if c.LabelSum != "" && c.LabelSum != r.Label {
		return r, fault.New(fault.Conflict, "case %s: its label has changed since the training was asked for", c.ID)
	}
	return r, nil
}

// fileSum is the SHA-256 of a file.
func fileSum(ctx context.Context, name string) (string, error) {
	f, err := os.Open(name) //nolint:gosec // the request names it
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := f.Read(buf)
		_, _ = h.Write(buf[:n]) // never fails
		if err == io.EOF {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
}

// folderSums are the SHA-256 of the files that make a model: network, manifest
// and what the manifest names.
func folderSums(ctx context.Context, dir string) (map[string]string, error) {
	manifest, err := os.ReadFile(filepath.Join(dir, manifestFile)) //nolint:gosec // the request names the folder
	if err != nil {
		return nil, fault.Wrap(fault.NotFound, err, "%s of the model folder cannot be read", manifestFile)
	}
	out := map[string]string{}
	for _, name := range append(attached(dir, manifest), networkFile, manifestFile) {
		sum, err := fileSum(ctx, filepath.Join(dir, name))
		if err != nil {
			return nil, fault.Wrap(fault.NotFound, err, "%s of the model folder cannot be read", name)
		}
		out[name] = sum
	}
	return out, nil
}

// attached returns the files of a model folder that its manifest names.
func attached(dir string, manifest []byte) []string {
	var doc yaml.Node
	if yaml.Unmarshal(manifest, &doc) != nil {
		return nil // whoever reads the manifest says what is wrong with it
	}
	found := map[string]bool{}
	scalars(&doc, func(value string) {
		if value == filepath.Base(value) && value != networkFile && value != manifestFile {
			info, err := os.Lstat(filepath.Join(dir, value))
			found[value] = err == nil && info.Mode().IsRegular()
		}
	})
	maps.DeleteFunc(found, func(_ string, there bool) bool { return !there })
	return slices.Sorted(maps.Keys(found))
}

// scalars calls fn with every scalar of a document, aliases apart.
func scalars(n *yaml.Node, fn func(string)) {
	if n.Kind == yaml.ScalarNode && n.Value != "" {
		fn(n.Value)
	}
	for _, c := range n.Content {
		scalars(c, fn)
	}
}

// short is the beginning of a hash, for people.
func short(hash string) string { return fmt.Sprintf("%.12s", hash) }
