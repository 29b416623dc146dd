package server

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"

	"github.com/labstack/echo/v4"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

const (
	maxField  = 16 << 20 // bytes of one text field, and of a JSON body
	maxFields = 200      // parts of one form
)

// form is the decoded body of a request: text fields in memory, files in temp
// files until close.
type form struct {
	in     *input
	fields map[string]string
	files  map[string][]*apps.Upload
}

// form reads a multipart or urlencoded body. Any other body, or none, is an
// empty form.
func (s *Server) form(c echo.Context, in *input) (_ *form, err error) {
	f := &form{in: in, fields: map[string]string{}, files: map[string][]*apps.Upload{}}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	body, done, err := s.body(c)
	if err != nil {
		return nil, err
	}
	defer done()
	t, p, _ := mime.ParseMediaType(c.Request().Header.Get(echo.HeaderContentType))
	switch t {
	case "multipart/form-data":
		err = s.multipart(f, body, p["boundary"])
	case "application/x-www-form-urlencoded":
		err = f.urlencoded(body)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, body) // to its end: only then the server sees the client leave
	}
	return f, bodyFault(err)
}

// bodyFault gives the failure to read a body a kind.
func bodyFault(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &tooLarge):
		return fault.Wrap(fault.TooLarge, err, "the request's body exceeds %d bytes", tooLarge.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fault.Wrap(fault.Invalid, err, "the request's body stopped coming")
	}
	if _, ok := fault.Message(err); ok {
		return err
	}
	return fault.Wrap(fault.Invalid, err, "Invalid multipart data.")
}

func (s *Server) multipart(f *form, body io.Reader, boundary string) error {
	if boundary == "" {
		return fault.New(fault.Invalid, "Missing boundary in multipart.")
	}
	r := multipart.NewReader(body, boundary)
	for n := 0; ; n++ {
		part, err := r.NextRawPart()
		if err == io.EOF { // as it is: a broken form wraps it
			return nil
		}
		if err != nil {
			return err
		}
		if n >= maxFields {
			return fault.New(fault.TooLarge, "the form has more than %d parts", maxFields)
		}
		if err := s.part(f, part); err != nil {
			return err
		}
	}
}

// part takes in one part: a file when it carries a file name, even an empty
// one, else a text.
func (s *Server) part(f *form, part *multipart.Part) error {
	_, p, err := mime.ParseMediaType(part.Header.Get(echo.HeaderContentDisposition))
	if err != nil {
		return err
	}
	name := p["name"]
	if file, isFile := p["filename"]; isFile {
		u, err := s.app.Receive(file, part)
		if err != nil {
			return err
		}
		f.files[name] = append(f.files[name], u)
		return nil
	}
	text, err := readField(part, name)
	f.fields[name] = text
	return err
}

func readField(r io.Reader, name string) (string, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxField+1))
	if len(data) > maxField {
		return "", fault.New(fault.TooLarge, "the field %q exceeds %d bytes", name, maxField)
	}
	return string(data), err
}

func (f *form) urlencoded(body io.Reader) error {
	text, err := readField(body, "form")
	if err != nil {
		return err
	}
	values, err := url.ParseQuery(text)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "the form is not urlencoded")
	}
	for k, v := range values {
		f.fields[k] = v[len(v)-1]
	}
	return nil
}

// close deletes the received files.
func (f *form) close() {
	for _, list := range f.files {
		for _, u := range list {
			u.Remove()
		}
	}
}

// file returns the last file of a field, nil when there is none.
func (f *form) file(name string) *apps.Upload {
	list := f.files[name]
	if len(list) == 0 {
		if _, text := f.fields[name]; text {
			f.in.problem("value_error", []any{"body", name}, "Value error, Expected UploadFile, received: <class 'str'>", nil, nil)
		}
		return nil
	}
	return list[len(list)-1]
}

// needFile returns the file of a required field.
func (f *form) needFile(name string) *apps.Upload {
	u := f.file(name)
	if u == nil && f.in.err() == nil {
		f.in.missing("body", name)
	}
	return u
}

// object returns a field that holds a JSON object as text. An absent or empty
// one is an empty object.
func (f *form) object(name string) (*ordered.Map, error) {
	if len(f.files[name]) > 0 {
		f.in.problem("string_type", []any{"body", name}, "Input should be a valid string", nil, nil)
	}
	text := f.fields[name]
	if text == "" {
		return &ordered.Map{}, nil
	}
	m, err := ordered.Parse([]byte(text))
	if errors.Is(err, ordered.ErrNotObject) {
		return nil, fault.Wrap(fault.Missing, err, "the field %s is not a JSON object", name)
	}
	return m, fault.Wrap(fault.Invalid, err, "the field %s is not JSON: %v", name, err)
}
