package server

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/voxloop/voxloop/internal/fault"
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
	out := &ordered.Map{}
	for _, name := range names {
		request := ordered.Of("model", name).Merge(body.Sub(name)).Merge(body)
		result, err := s.trainOne(c, request, sync)
		o := ordered.Of("result", result, "detail", nil)
		if err != nil {
			msg, ok := fault.Message(err)
			if !ok {
				s.log.Error("training refused", "trainer", name, "err", err)
				msg = http.StatusText(http.StatusInternalServerError)
			}
			o = ordered.Of("result", nil, "detail", msg)
		}
		out.Set(name, o)
	}
	return reply(c, out)
}

// trainOne starts a training after those that run or wait.
func (s *Server) trainOne(c echo.Context, request *ordered.Map, sync bool) (any, error) {
	ctx, q := c.Request().Context(), s.app.Tasks().Train
	if err := s.app.CheckTraining(ctx, request); err != nil {
		return nil, err
	}
	if sync {
		return q.Do(ctx, request, true)
	}
	t, err := q.Start(request, true)
	if err != nil {
		return nil, err
	}
	return t.Object(), nil
}
