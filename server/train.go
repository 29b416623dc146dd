package server

import (
	"github.com/labstack/echo/v4"

	"github.com/voxloop/voxloop/internal/ordered"
)

// train answers POST /train/{model}: the task, or with run_sync the statistics
// of the finished training. What cannot be trained is refused at once.
func (s *Server) train(c echo.Context) error {
	in := query(c)
	sync, enqueue := in.flag("run_sync", false), in.flag("enqueue", false)
	body, err := s.object(c, in)
	if err == nil {
		err = in.err()
	}
	if err != nil {
		return err
	}
	request := ordered.Of("model", c.Param("model")).Merge(body)
	if err := s.app.CheckTraining(c.Request().Context(), request); err != nil {
		return err
	}
	return s.start(c, s.app.Tasks().Train, request, enqueue, sync)
}

// trainAll answers POST /train/: a task for every trainer, each with the part of
// the body under its name and the whole body as its request. A trainer that
// refuses says why under "detail"; the others start.
func (s *Server) trainAll(c echo.Context) error {
	in := query(c)
	sync := in.flag("run_sync", false)
	body, err := s.object(c, in)
	if err == nil {
		err = in.err()
	}
	if err != nil {
		return err
	}
	names, err := s.app.Trainers(c.Request().Context())
	if err != nil {
		return err
	}
	return reply(c, s.startEach("model", names, body, func(request *ordered.Map) (any, error) {
		if err := s.app.CheckTraining(c.Request().Context(), request); err != nil {
			return nil, err
		}
		return s.enqueue(c, s.app.Tasks().Train, request, sync)
	}))
}
