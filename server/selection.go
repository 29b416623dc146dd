package server

import (
	"github.com/labstack/echo/v4"
)

func (s *Server) selectionRoutes() []route {
	const tag = "Next sample"
	return []route{
		{method: "GET", path: "/selection/", handle: s.selectionStatus, tag: tag, summary: "How the scoring of images stands", answers: jsonType},
		{
			method: "GET", path: "/selection/ranking", handle: s.selectionRanking, tag: tag, summary: "The images that are free, the least sure one first",
			query: []param{text("measure"), number("limit")}, answers: jsonType,
		},
	}
}

// selectionStatus answers GET /selection/.
func (s *Server) selectionStatus(c echo.Context) error { return reply(c, s.app.SelectionStatus()) }

// selectionRanking answers GET /selection/ranking.
func (s *Server) selectionRanking(c echo.Context) error {
	in := query(c)
	measure, limit := in.text("measure"), in.number("limit", 100)
	if err := in.err(); err != nil {
		return err
	}
	list, err := s.app.SelectionRanking(measure, limit)
	if err != nil {
		return err
	}
	return reply(c, list)
}
