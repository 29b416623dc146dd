package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
)

// retryError is a failure that may pass.
type retryError struct {
	err   error
	after time.Duration // the server's wish
}

func (e *retryError) Error() string { return e.err.Error() }
func (e *retryError) Unwrap() error { return e.err }

// newClient returns a client that follows redirects, but never from an
// encrypted address to one that is not.
func newClient() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = silence
	t.DisableCompression = true // sizes and ranges are those of the file
	return &http.Client{Transport: t, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) >= 10 {
			return errors.New("more than 10 redirects")
		}
		if via[len(via)-1].URL.Scheme == "https" && r.URL.Scheme != "https" {
			return fault.New(fault.Unavailable, "the server leads from https to %s", r.URL.Scheme)
		}
		return nil
	}}
}

// attempt makes one request for what is missing and writes what comes.
func (d *download) attempt(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url, http.NoBody)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "%s is no address", d.url)
	}
	if req.URL.Scheme != "http" && req.URL.Scheme != "https" || req.URL.Host == "" {
		return fault.New(fault.Invalid, "%s is no http or https address", d.url)
	}
	req.Header.Set("User-Agent", "voxloop")
	if d.have > 0 && d.state.validator() == "" {
		if err := d.restart(); err != nil {
			return diskFault(err, "the download")
		}
	}
	if d.have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.have))
		req.Header.Set("If-Range", d.state.validator())
	}
	resp, err := d.client.Do(req)
	if _, known := errors.AsType[*fault.Error](err); known {
		return err
	}
	if err != nil {
		return &retryError{err: err}
	}
	defer func() { _ = resp.Body.Close() }() // read as far as it is wanted
	complete, err := d.begin(resp)
	if err != nil || complete {
		return err
	}
	return d.receive(ctx, resp.Body, cancel)
}

// begin looks at an answer. complete: nothing is missing.
func (d *download) begin(resp *http.Response) (complete bool, err error) {
	s := partState{URL: d.url, ETag: resp.Header.Get("ETag"), LastModified: resp.Header.Get("Last-Modified"), Total: resp.ContentLength}
	switch code := resp.StatusCode; {
	case code == http.StatusPartialContent && d.have > 0:
		from, total, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || from != d.have || d.state.Total >= 0 && total >= 0 && total != d.state.Total {
			return false, d.again(fmt.Errorf("the server sent %q for what comes after byte %d", resp.Header.Get("Content-Range"), d.have))
		}
		if s.validator() != "" && s.validator() != d.state.validator() {
			return false, d.again(errors.New("the file on the server has changed"))
		}
		if s.validator() == "" { // may be left out of a 206
			s.ETag, s.LastModified = d.state.ETag, d.state.LastModified
		}
		s.Total = max(total, d.state.Total)
	case code == http.StatusOK: // from the beginning: new, or another version than the part's, or no ranges
		if err := d.restart(); err != nil {
			return false, diskFault(err, "the download")
		}
	case code == http.StatusRequestedRangeNotSatisfiable && d.have > 0:
		if d.have == d.state.Total {
			return true, nil
		}
		return false, d.again(errors.New("the file on the server is shorter than what has come"))
	case code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= 500:
		return false, &retryError{err: fmt.Errorf("the server answers %s", resp.Status), after: retryAfter(resp.Header.Get("Retry-After"))}
	case code == http.StatusNotFound || code == http.StatusGone:
		return false, fault.New(fault.NotFound, "%s: the server answers %s", d.url, resp.Status)
	default:
		return false, fault.New(fault.Unavailable, "%s: the server answers %s", d.url, resp.Status)
	}
	if s.Total > d.max {
		return false, fault.New(fault.TooLarge, "the file at %s has %s, more than the %s that are expected at most", d.url, size(s.Total), size(d.max))
	}
	if err := d.space(s.Total); err != nil {
		return false, err
	}
	return false, diskFault(d.remember(s), "the download")
}

// again drops the part, so that the next try starts over.
func (d *download) again(err error) error {
	if rerr := d.restart(); rerr != nil {
		return diskFault(rerr, "the download")
	}
	return &retryError{err: err}
}

// space asks for room for the rest of the file and what is made of it.
func (d *download) space(total int64) error {
	if total < 0 {
		return nil
	}
	return enough(d.free, filepath.Dir(d.path), total-d.have+d.need(total))
}

// receive writes the body behind what came. cancel ends the request when
// nothing comes for too long.
func (d *download) receive(ctx context.Context, body io.Reader, cancel context.CancelCauseFunc) error {
	quiet := time.AfterFunc(silence, func() { cancel(errors.New("nothing came for a minute")) })
	defer quiet.Stop()
	buf := make([]byte, 1<<18)
	for {
		n, rerr := body.Read(buf)
		quiet.Reset(silence)
		if d.have+int64(n) > d.max {
			return fault.New(fault.TooLarge, "the server sends more than the %s that are expected at most", size(d.max))
		}
		if n > 0 {
			if _, err := d.file.WriteAt(buf[:n], d.have); err != nil {
				return diskFault(err, "the download")
			}
			d.have += int64(n)
			d.progress(d.have, d.state.Total)
		}
		switch {
		case ctx.Err() != nil:
			return &retryError{err: context.Cause(ctx)}
		case errors.Is(rerr, io.EOF):
			if d.have < d.state.Total {
				return &retryError{err: io.ErrUnexpectedEOF}
			}
			return nil
		case rerr != nil:
			return &retryError{err: rerr}
		}
	}
}

// contentRange reads "bytes FROM-TO/TOTAL"; total is -1 for "*".
func contentRange(text string) (from, total int64, ok bool) {
	text, ok = strings.CutPrefix(text, "bytes ")
	if !ok {
		return 0, 0, false
	}
	span, of, ok := strings.Cut(text, "/")
	first, _, ok2 := strings.Cut(span, "-")
	from, err := strconv.ParseInt(first, 10, 64)
	if !ok || !ok2 || err != nil {
		return 0, 0, false
	}
	if of == "*" {
		return from, -1, true
	}
	total, err = strconv.ParseInt(of, 10, 64)
	return from, total, err == nil
}

// retryAfter reads seconds or a date.
func retryAfter(text string) time.Duration {
	if s, err := strconv.Atoi(text); err == nil {
		return min(max(time.Duration(s)*time.Second, 0), maxAfter)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(time.Until(at), 0), maxAfter)
	}
	return 0
}
