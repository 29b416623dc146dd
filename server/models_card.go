package server

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// modelCard answers GET /model/{model}/card: Markdown, or JSON with
// output=json.
func (s *Server) modelCard(c echo.Context) error {
	in := query(c)
	version, output := in.text("version"), in.choice("output", "markdown", "json")
	if err := in.err(); err != nil {
		return err
	}
	card, err := s.app.ModelCard(c.Param("model"), version)
	if err != nil {
		return err
	}
	if output == "json" {
		return reply(c, &card)
	}
	return c.Blob(http.StatusOK, "text/markdown; charset=utf-8", []byte(card.Markdown()))
}
