package server

import (
	"github.com/labstack/echo/v4"

	"github.com/voxloop/voxloop/internal/ordered"
)

// modelShadow answers GET /model/{model}/shadow.
func (s *Server) modelShadow(c echo.Context) error {
	x, err := s.app.Shadow(c.Param("model"), query(c).text("version"))
	if err != nil {
		return err
	}
	return reply(c, &x)
}

// modelShadowBegin answers POST /model/{model}/shadow.
func (s *Server) modelShadowBegin(c echo.Context) error {
	in := query(c)
	version := in.need("version")
	if err := in.err(); err != nil {
		return err
	}
	x, err := s.app.BeginShadow(c.Request().Context(), c.Param("model"), version)
	if err != nil {
		return err
	}
	return reply(c, &x)
}

// modelShadowEnd answers DELETE /model/{model}/shadow.
func (s *Server) modelShadowEnd(c echo.Context) error {
	if err := s.app.EndShadow(c.Param("model")); err != nil {
		return err
	}
	return reply(c, &ordered.Map{})
}
