package server

import (
	"net/http"
	"os"
	"path/filepath"

	"github.com/labstack/echo/v4"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

// sessionPut answers PUT /session/.
func (s *Server) sessionPut(c echo.Context) error {
	in := query(c)
	uncompress, expiry := in.flag("uncompress", false), in.number("expiry", 0)
	f, err := s.form(c, in)
	if err != nil {
		return err
	}
	defer f.close()
	f.needFile("files")
	if err := in.err(); err != nil {
		return err
	}
	ses, err := s.app.Sessions().Create(f.files["files"], uncompress, int64(expiry))
	if err != nil {
		return err
	}
	return reply(c, ordered.Of("session_id", ses.ID, "session_info", ses.Object()))
}

// sessionGet answers GET /session/{id}: its description, or its image.
func (s *Server) sessionGet(c echo.Context) error {
	in := query(c)
	touch, image := in.flag("update_ts", false), in.flag("image", false)
	if err := in.err(); err != nil {
		return err
	}
	ses, err := s.app.Sessions().Get(c.Param("session_id"), touch)
	if err != nil {
		return err
	}
	if !image {
		return reply(c, ses.Object())
	}
	if info, err := os.Stat(ses.Image); err == nil && info.IsDir() {
		return &textError{http.StatusBadRequest, "the session's image is a folder; only single files can be fetched"}
	}
	return gone(sendFile(c, ses.Image, filepath.Base(ses.Image), ""))
}

// sessionDelete answers DELETE /session/{id} with what the session was.
func (s *Server) sessionDelete(c echo.Context) error {
	ses, err := s.app.Sessions().Remove(c.Param("session_id"))
	if fault.KindOf(err) == fault.NotFound {
		return &textError{http.StatusNotFound, "Session Not Found"}
	}
	if err != nil {
		return err
	}
	return reply(c, ses.Object())
}
