package cli

import (
	"bytes"
	"context"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

// servedShelf asks a running server. A swap may take as long as the inferences
// that hold the old version: the user ends it, not a clock.
type servedShelf struct{ ask asker }

var _ shelf = (*servedShelf)(nil)

func (s *servedShelf) close() error { return nil }

// object asks for an object.
func (s *servedShelf) object(ctx context.Context, method, path, contentType string, content io.Reader) (*ordered.Map, error) {
	body, err := s.ask.send(ctx, method, path, contentType, content)
	if err != nil {
		return nil, err
	}
	m, err := ordered.Parse(body)
	return m, fault.Wrap(fault.Unavailable, err, "the answer is no JSON object: is this a voxloop server?")
}

func (s *servedShelf) names(ctx context.Context) ([]string, error) {
	m, err := s.object(ctx, http.MethodGet, "/info/", "", nil)
	if err != nil {
		return nil, err
	}
	return m.Sub("models").Keys(), nil
}

// path is an address below a model's.
func (s *servedShelf) path(model, what string, query ...string) string {
	v := url.Values{}
	for i := 0; i < len(query); i += 2 {
		if query[i+1] != "" {
			v.Set(query[i], query[i+1])
		}
	}
	p := "/model/" + url.PathEscape(model)
	if what != "" {
		p += "/" + what
	}
	if len(v) > 0 {
		p += "?" + v.Encode()
	}
	return p
}

func (s *servedShelf) versions(ctx context.Context, model string) (*ordered.Map, error) {
	return s.object(ctx, http.MethodGet, s.path(model, "versions"), "", nil)
}

func (s *servedShelf) publish(ctx context.Context, model, version, reason string) (*ordered.Map, error) {
	return s.object(ctx, http.MethodPost, s.path(model, "publish", "version", version, "reason", reason), "", nil)
}

func (s *servedShelf) rollback(ctx context.Context, model, reason string) (*ordered.Map, error) {
	return s.object(ctx, http.MethodPost, s.path(model, "rollback", "reason", reason), "", nil)
}

func (s *servedShelf) pin(ctx context.Context, model, version string, on bool) (*ordered.Map, error) {
	what := "unpin"
	if on {
		what = "pin"
	}
	return s.object(ctx, http.MethodPost, s.path(model, what, "version", version), "", nil)
}

func (s *servedShelf) retire(ctx context.Context, model, version string) (*ordered.Map, error) {
	return s.object(ctx, http.MethodPost, s.path(model, "retire", "version", version), "", nil)
}

// put sends a network, or the files of a model folder.
func (s *servedShelf) put(ctx context.Context, model, from, reason string) (*ordered.Map, error) {
	files, err := modelFiles(from)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, f := range files {
		name, field := filepath.Base(f), "files"
		switch {
		case name == infer.ManifestFile:
			field = "manifest"
		case len(files) == 1 || name == infer.NetworkFile:
			field = "file"
		}
		part, err := w.CreateFormFile(field, name)
		if err != nil {
			return nil, err
		}
		data, err := os.ReadFile(f) //nolint:gosec // the user names it
		if err != nil {
			return nil, err
		}
		if _, err := part.Write(data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return s.object(ctx, http.MethodPut, s.path(model, "", "reason", reason), w.FormDataContentType(), &b)
}

// modelFiles are the files that make a version: a network alone, or those of a
// model folder that a server takes.
func modelFiles(from string) ([]string, error) {
	if isFile(from) {
		return []string{from}, nil
	}
	if !isFile(filepath.Join(from, infer.NetworkFile)) || !isFile(filepath.Join(from, infer.ManifestFile)) {
		return nil, fault.New(fault.NotFound, "%s is neither a network nor a folder with %s and %s", from, infer.NetworkFile, infer.ManifestFile)
	}
	return infer.ModelFiles(from)
}
