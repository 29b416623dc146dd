package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/voxloop/voxloop/internal/ordered"
)

// modelGet answers GET /model/{model} with the network's file.
func (s *Server) modelGet(c echo.Context) error {
	f, name, err := s.app.ModelFile(c.Param("model"))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	r, seeks := f.(io.ReadSeeker)
	if !seeks {
		data, err := io.ReadAll(f)
		if err != nil {
			return err
		}
		r = bytes.NewReader(data)
	}
	return send(c, content{ReadSeeker: r, name: name, modified: info.ModTime(), size: info.Size()})
}

// modelInfo answers GET /model/info/{model}.
func (s *Server) modelInfo(c echo.Context) error {
	f, _, err := s.app.ModelFile(c.Param("model"))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	modified := int64(0) // files built into the binary have no time
	if t := info.ModTime(); !t.IsZero() {
		modified = t.Unix()
	}
	return reply(c, ordered.Of("checksum", "SHA256:"+hex.EncodeToString(h.Sum(nil)), "modified_time", modified))
}

// modelReadOnly answers PUT and DELETE /model/{model}: a network comes into
// service through the app's folder only.
func (s *Server) modelReadOnly(c echo.Context) error {
	c.Response().Header().Set(echo.HeaderAllow, http.MethodGet)
	return &textError{http.StatusMethodNotAllowed, "model files are read only over HTTP; put the model's folder into the app instead"}
}
