package demo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxAnswer is the most that is read of an answer, in bytes.
const maxAnswer = 256 << 20

// Client asks a server. It is safe for many goroutines.
type Client struct {
	Base string // as http://127.0.0.1:8000
}

// answer is a response that was read to its end.
type answer struct {
	header http.Header
	body   []byte
}

// do sends a request. Any other answer than 200 is an error that tells what the
// server said.
func (c *Client) do(ctx context.Context, method, path, contentType string, body io.Reader) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.Base+path, body)
	if err != nil {
		return answer{}, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, data[:min(len(data), 300)])
	}
	return answer{resp.Header, data}, err
}

func (c *Client) json(ctx context.Context, method, path string, body io.Reader, into any) error {
	a, err := c.do(ctx, method, path, "application/json", body)
	if err == nil {
		err = json.Unmarshal(a.body, into)
	}
	return err
}

// file sends a file in a form.
func (c *Client) file(ctx context.Context, path, field, name string, data []byte, into any) error {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, err := w.CreateFormFile(field, name)
	if err == nil {
		_, err = part.Write(data)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	a, err := c.do(ctx, http.MethodPut, path, w.FormDataContentType(), &b)
	if err == nil {
		err = json.Unmarshal(a.body, into)
	}
	return err
}

// Ready waits until the server's models are loaded. alive tells whether the
// server runs still.
func (c *Client) Ready(ctx context.Context, alive func() error) error {
	for {
		_, err := c.do(ctx, http.MethodGet, "/readyz?models=1", "", nil)
		if err == nil {
			return nil
		}
		if err := errors.Join(ctx.Err(), alive()); err != nil {
			return err
		}
		if err := wait(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// next asks for the image that is to be labelled next; "" when there is none.
func (c *Client) next(ctx context.Context) (string, error) {
	var v struct{ ID string }
	err := c.json(ctx, http.MethodPost, "/activelearning/random", strings.NewReader(`{"client_id":"demo"}`), &v)
	return v.ID, err
}

func (c *Client) label(ctx context.Context, id string, file []byte) error {
	var v struct{ Label string }
	return c.file(ctx, "/datastore/label?tag=final&image="+url.QueryEscape(id), "label", id+".nii.gz", file, &v)
}

// Verdict is what is asked of the gate's decisions.
type Verdict struct {
	Version string
	Verdict struct {
		Pass   bool
		Reason string
		Mean   struct {
			Cases              int
			Candidate, Current float64
		} `json:"mean_dice"`
	}
}

// verdicts returns the gate's decisions, the oldest first.
func (c *Client) verdicts(ctx context.Context) ([]Verdict, error) {
	var v struct{ Verdicts []Verdict }
	err := c.json(ctx, http.MethodGet, "/loop/verdicts/"+Model, nil, &v)
	for i, k := 0, len(v.Verdicts)-1; i < k; i, k = i+1, k-1 {
		v.Verdicts[i], v.Verdicts[k] = v.Verdicts[k], v.Verdicts[i]
	}
	return v.Verdicts, err
}

// published tells whether a version has gone into service.
func (c *Client) published(ctx context.Context, version string) (bool, error) {
	var v struct {
		History []struct{ To, Refused string }
	}
	err := c.json(ctx, http.MethodGet, "/model/"+Model+"/versions", nil, &v)
	for _, s := range v.History {
		if s.To == version && s.Refused == "" {
			return true, nil
		}
	}
	return false, err
}

// segment infers on an image: which version answers, and the hash of its label
// map.
func (c *Client) segment(ctx context.Context, id string) (version string, sum [32]byte, err error) {
	a, err := c.do(ctx, http.MethodPost, "/infer/"+Model+"?output=image&image="+url.QueryEscape(id), "", nil)
	return a.header.Get("X-Model-Version"), sha256.Sum256(a.body), err
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
