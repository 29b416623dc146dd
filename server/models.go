package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"

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
	o, err := fileObject(f)
	if err != nil {
		return err
	}
	if stats := s.app.ModelStats(c.Param("model")); stats != nil {
		o.Set("train_stats", stats)
	}
	return reply(c, o)
}

// fileObject is what clients are told about a network's file.
func fileObject(f fs.File) (*ordered.Map, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, err
	}
	modified := int64(0) // files built into the binary have no time
	if t := info.ModTime(); !t.IsZero() {
		modified = t.Unix()
	}
	return ordered.Of("checksum", "SHA256:"+hex.EncodeToString(h.Sum(nil)), "modified_time", modified), nil
}
