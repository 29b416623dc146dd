package server

import (
	"github.com/labstack/echo/v4"

	"github.com/voxloop/voxloop/internal/jobs"
	"github.com/voxloop/voxloop/internal/ordered"
)

// loopRoutes are what the schedule and the gate tell, beyond the reference's
// routes.
func (s *Server) loopRoutes() []route {
	const tag, model = "Loop", "Model files"
	return []route{
		{method: "GET", path: "/loop/", handle: s.loopStatus, tag: tag, summary: "The schedule, the hold-out and the last verdicts", answers: jsonType},
		{
			method: "POST", path: "/loop/train", handle: s.loopTrain, tag: tag, summary: "Train as soon as nothing holds it back",
			query: []param{text("reason")}, answers: jsonType,
		},
		{method: "GET", path: "/loop/verdicts/:model", handle: s.loopVerdicts, tag: tag, summary: "All verdicts on a model's versions, with every case", answers: jsonType},
		{
			method: "GET", path: "/model/:model/card", handle: s.modelCard, tag: model, summary: "The model card of a version",
			query: []param{text("version"), choice("output", "markdown", "json")}, answers: "text/markdown",
		},
		{
			method: "GET", path: "/model/:model/shadow", handle: s.modelShadow, tag: model, summary: "What a candidate answers beside the version in service",
			query: []param{text("version")}, answers: jsonType,
		},
		{
			method: "POST", path: "/model/:model/shadow", handle: s.modelShadowBegin, tag: model, summary: "Run a version beside the one in service, without showing it",
			query: []param{need(text("version"))}, answers: jsonType,
		},
		{method: "DELETE", path: "/model/:model/shadow", handle: s.modelShadowEnd, tag: model, summary: "Run no candidate beside the version in service", answers: jsonType},
	}
}

// trainObject is what clients are told about a training: the task, and when
// there is a schedule or a verdict on the model, these.
func (s *Server) trainObject(t jobs.Task) *ordered.Map {
	o := t.Object()
	next, verdict := s.app.Schedule(t.Request.String("model"))
	if next != "" {
		o.Set("next_run", next)
	}
	if verdict != nil {
		o.Set("last_verdict", verdict)
	}
	return o
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
