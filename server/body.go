package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

// body returns the request's body: bounded in size, and given up when no byte
// comes for a while. done has to be called when no more is read.
func (s *Server) body(c echo.Context) (r io.Reader, done func(), err error) {
	limit := s.app.Limits().MaxUpload
	req := c.Request()
	if req.ContentLength > limit {
		c.Response().Header().Set(echo.HeaderConnection, "close")
		return nil, nil, fault.New(fault.TooLarge, "the request's body exceeds %d bytes", limit)
	}
	w := &watched{
		body: http.MaxBytesReader(c.Response().Writer, req.Body, limit),
		ctl:  http.NewResponseController(c.Response()), idle: s.opts.UploadIdle,
	}
	return w, func() { w.done(c.Response().Header()) }, nil
}

// watched sets a new deadline before every read. A connection that knows no
// deadlines (in tests) is read without.
type watched struct {
	body io.Reader
	ctl  *http.ResponseController
	idle time.Duration
	end  bool
}

func (w *watched) Read(p []byte) (int, error) {
	_ = w.ctl.SetReadDeadline(time.Now().Add(w.idle))
	n, err := w.body.Read(p)
	w.end = w.end || errors.Is(err, io.EOF)
	return n, err
}

// done lifts the deadline. When the body was not read to its end, the server
// must not wait for the rest: the connection is closed after the answer.
func (w *watched) done(h http.Header) {
	if w.end {
		_ = w.ctl.SetReadDeadline(time.Time{})
		return
	}
	h.Set(echo.HeaderConnection, "close")
	_ = w.ctl.SetReadDeadline(time.Now().Add(staleGrace))
}

// object reads a JSON body. It is parsed when it is announced as JSON and,
// since one client sends no Content-Type, when nothing is announced. An absent
// body and null are nil.
func (s *Server) object(c echo.Context, in *input) (*ordered.Map, error) {
	body, done, err := s.body(c)
	if err != nil {
		return nil, err
	}
	defer done()
	text, err := readField(body, "body")
	if err != nil {
		return nil, bodyFault(err)
	}
	if text == "" {
		return nil, nil
	}
	if t := c.Request().Header.Get(echo.HeaderContentType); t != "" && !isJSON(t) {
		in.notObject(strings.ToValidUTF8(text, "\uFFFD"))
		return nil, in.err()
	}
	v, err := ordered.ParseValue([]byte(text))
	if err != nil {
		in.badJSON([]byte(text))
		return nil, in.err()
	}
	m, isObject := v.(*ordered.Map)
	if v != nil && !isObject {
		in.notObject(v)
	}
	return m, in.err()
}

func (q *input) notObject(v any) {
	q.problem("dict_type", []any{"body"}, "Input should be a valid dictionary", v, nil)
}

// badJSON adds the problem of a text that is no JSON, with the place of the
// first wrong character.
func (q *input) badJSON(text []byte) {
	at, msg := jsonProblem(text)
	q.problem("json_invalid", []any{"body", at}, "JSON decode error", &ordered.Map{}, ordered.Of("error", msg))
}

// jsonProblem returns the character offset and a description of what is wrong
// with a JSON text, in the words that clients of the protocol know.
func jsonProblem(text []byte) (int, string) {
	var syntax *json.SyntaxError
	err := json.Unmarshal(text, new(json.RawMessage))
	if err == nil || !errors.As(err, &syntax) {
		return 0, "Expecting value" // nested too deeply
	}
	// Offset counts the bytes read, the wrong one included.
	at := utf8.RuneCount(text[:min(max(int(syntax.Offset)-1, 0), len(text))])
	reason := err.Error()
	for _, m := range []struct{ part, msg string }{
		{"beginning of object key string", "Expecting property name enclosed in double quotes"},
		{"after object key:value pair", "Expecting ',' delimiter"},
		{"after array element", "Expecting ',' delimiter"},
		{"after object key", "Expecting ':' delimiter"},
		{"after top-level value", "Extra data"},
		{"in string literal", "Invalid control character at"},
		{"in string escape code", "Invalid \\escape"},
	} {
		if strings.Contains(reason, m.part) {
			return at, m.msg
		}
	}
	if strings.Contains(reason, "unexpected end") {
		at = utf8.RuneCount(bytes.TrimSpace(text))
	}
	return at, "Expecting value"
}
