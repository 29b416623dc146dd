package server

import (
	"github.com/labstack/echo/v4"

	"github.com/voxloop/voxloop/internal/ordered"
)

// loopRoutes are what the schedule and the gate tell, beyond the reference's
// routes.
func (s *Server) loopRoutes() []route {
	const tag = "Loop"
	return []route{
		{method: "GET", path: "/loop/", handle: s.loopStatus, tag: tag, summary: "The schedule, the hold-out and the last verdicts", answers: jsonType},
		{
			method: "POST", path: "/loop/train", handle: s.loopTrain, tag: tag, summary: "Train as soon as nothing holds it back",
			query: []param{text("reason")}, answers: jsonType,
		},
		{method: "GET", path: "/loop/verdicts/:model", handle: s.loopVerdicts, tag: tag, summary: "All verdicts on a model's versions, with every case", answers: jsonType},
	}
}

// loopStatus answers GET /loop/.
func (s *Server) loopStatus(c echo.Context) error { return reply(c, s.app.LoopStatus()) }

// loopTrain answers POST /loop/train with the status afterwards.
func (s *Server) loopTrain(c echo.Context) error {
	in := query(c)
	reason := in.text("reason")
	if err := in.err(); err != nil {
		return err
	}
	if reason == "" {
		reason = "by hand"
	}
	s.app.TrainNow(reason)
	return reply(c, s.app.LoopStatus())
}

// loopVerdicts answers GET /loop/verdicts/{model}, newest first.
func (s *Server) loopVerdicts(c echo.Context) error {
	model := c.Param("model")
	if _, _, err := s.app.ModelVersions(model); err != nil {
		return err
	}
	return reply(c, ordered.Of("model", model, "verdicts", s.app.Judgements(model)))
}
