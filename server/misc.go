package server

import (
	"bytes"
	"context"
	_ "embed" // the icon
	"net/http"
	"os/exec"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

//go:embed static/favicon.ico
var favicon []byte

const plainText = "text/plain; charset=utf-8"

func (s *Server) info(c echo.Context) error { return reply(c, s.app.Info()) }

// nextSample answers POST /activelearning/{strategy}.
func (s *Server) nextSample(c echo.Context) error {
	in := query(c)
	body, err := s.object(c, in)
	if err != nil {
		return err
	}
	sample, err := s.app.NextSample(c.Request().Context(), c.Param("strategy"), body)
	if err != nil {
		return err
	}
	return reply(c, sample)
}

// logs answers GET /logs/: the last lines as text, or a page that fetches
// them.
func (s *Server) logs(c echo.Context) error {
	in := query(c)
	lines, html := in.number("lines", 300), in.flag("html", true)
	text, refresh := in.flag("text", false), in.number("refresh", 0)
	if err := in.err(); err != nil {
		return err
	}
	if html && !text && lines > 0 {
		return s.page(c, "logs.html", map[string]int{"Lines": lines, "Refresh": refresh})
	}
	kept := s.app.Logs().Lines(lines)
	body := strings.Join(kept, "\n")
	if body != "" {
		body += "\n"
	}
	return blob(c, http.StatusOK, plainText, []byte(body))
}

// gpuLog answers GET /logs/gpu with what the driver's tool says.
func (s *Server) gpuLog(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), 10*time.Second)
	defer cancel()
	tool, err := exec.LookPath("nvidia-smi")
	if err != nil {
		return &textError{http.StatusNotFound, "nvidia-smi is not installed on the server"}
	}
	out, err := exec.CommandContext(ctx, tool).Output() //nolint:gosec // a fixed program without arguments
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "nvidia-smi failed")
	}
	return blob(c, http.StatusOK, plainText, out)
}

// proxy answers /proxy/dicom/…: a folder of studies has no DICOMweb server
// behind it.
func (s *Server) proxy(echo.Context) error {
	return &textError{http.StatusNotFound, "the studies are a local folder; there is no DICOMweb server to pass the request on to"}
}

// ohif answers /ohif/…: the viewer is not part of this server.
func (s *Server) ohif(echo.Context) error {
	return &textError{http.StatusNotFound, "Resource NOT Found"}
}

// reload answers POST /reload. The reference throws its app away so that the
// next request sees what changed on disk; this server follows the studies by
// itself, so there is nothing left to do.
func (s *Server) reload(c echo.Context) error { return reply(c, &ordered.Map{}) }

func (s *Server) icon(c echo.Context) error {
	return send(c, content{ReadSeeker: bytes.NewReader(favicon), mime: "image/x-icon", modified: s.started, size: int64(len(favicon))})
}

// healthz answers while the process can answer at all.
func (s *Server) healthz(c echo.Context) error {
	return reply(c, ordered.Of("status", "ok"))
}

// readyz answers when requests can be served. With models=1 it waits until
// every model is ready or has failed.
func (s *Server) readyz(c echo.Context) error {
	in := query(c)
	wait := in.flag("models", false)
	if err := in.err(); err != nil {
		return err
	}
	if wait {
		if err := s.app.Wait(c.Request().Context()); err != nil {
			return err
		}
	}
	models := &ordered.Map{}
	for _, m := range s.app.Status().Models {
		models.Set(m.Name, string(m.State))
	}
	return reply(c, ordered.Of("status", "ready", "models", models))
}
