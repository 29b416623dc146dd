package server

import (
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/jobs"
	"github.com/voxloop/voxloop/internal/ordered"
)

// taskStatus answers GET /train/ and its like: the latest task, the running
// one, or all. object makes what clients are told about a task; nil: its own
// Object.
func taskStatus(q *jobs.Queue, object func(jobs.Task) *ordered.Map) echo.HandlerFunc {
	if object == nil {
		object = jobs.Task.Object
	}
	return func(c echo.Context) error {
		in := query(c)
		all, running := in.flag("all", false), in.flag("check_if_running", false)
		if err := in.err(); err != nil {
			return err
		}
		if running {
			t, found := q.Running()
			if !found {
				return &textError{http.StatusNotFound, fmt.Sprintf("No %s Tasks are currently Running", q.Kind())}
			}
			return reply(c, object(t))
		}
		tasks := q.All()
		if len(tasks) == 0 {
			return &textError{http.StatusNotFound, fmt.Sprintf("No %s Tasks Found", q.Kind())}
		}
		if !all {
			return reply(c, object(tasks[len(tasks)-1]))
		}
		list := make([]*ordered.Map, 0, len(tasks))
		for _, t := range tasks {
			list = append(list, object(t))
		}
		return reply(c, list)
	}
}

// taskStop answers DELETE /train/ and its like: the stopped task, or null.
func taskStop(q *jobs.Queue) echo.HandlerFunc {
	return func(c echo.Context) error {
		t, found := q.Stop(c.Request().Context())
		if !found {
			return reply(c, nil)
		}
		return reply(c, t.Object())
	}
}

// start submits a task and answers with it, or runs it and answers with its
// result.
func (s *Server) start(c echo.Context, q *jobs.Queue, request *ordered.Map, enqueue, sync bool) error {
	if !sync {
		t, err := q.Start(request, enqueue)
		if err != nil {
			return err
		}
		return reply(c, t.Object())
	}
	result, err := q.Do(c.Request().Context(), request, enqueue)
	if err != nil {
		return err
	}
	if result == nil {
		return &textError{http.StatusTooManyRequests, "Too Many Requests"} // the protocol's answer to no result
	}
	return reply(c, result)
}

// score answers POST /scoring/{method}.
func (s *Server) score(c echo.Context) error {
	in := query(c)
	sync := in.flag("run_sync", false)
	body, err := s.object(c, in)
	if err == nil {
		err = in.err()
	}
	if err != nil {
		return err
	}
	return s.start(c, s.app.Tasks().Scoring, ordered.Of("method", c.Param("method")).Merge(body), false, sync)
}

// batch answers POST /batch/infer/{model}.
func (s *Server) batch(c echo.Context) error {
	in := query(c)
	sync, images := in.flag("run_sync", false), in.choice("images", "all", "labeled", "unlabeled")
	body, err := s.object(c, in)
	if err == nil {
		err = in.err()
	}
	if err != nil {
		return err
	}
	if images == "" {
		images = "all"
	}
	return s.start(c, s.app.Tasks().Batch, ordered.Of("model", c.Param("model"), "images", images).Merge(body), false, sync)
}

// scoreAll answers POST /scoring/: a task for every scoring method of the app,
// each with the part of the body under its name and the whole body as its
// request.
func (s *Server) scoreAll(c echo.Context) error {
	in := query(c)
	sync := in.flag("run_sync", false)
	body, err := s.object(c, in)
	if err == nil {
		err = in.err()
	}
	if err != nil {
		return err
	}
	return reply(c, s.startEach("method", s.app.ScoringMethods(), body, func(request *ordered.Map) (any, error) {
		return s.enqueue(c, s.app.Tasks().Scoring, request, sync)
	}))
}

// startEach starts a task for every name. One that refuses says why under
// "detail"; the others start.
func (s *Server) startEach(key string, names []string, body *ordered.Map, start func(request *ordered.Map) (any, error)) *ordered.Map {
	out := &ordered.Map{}
	for _, name := range names {
		result, err := start(ordered.Of(key, name).Merge(body.Sub(name)).Merge(body))
		o := ordered.Of("result", result, "detail", nil)
		if err != nil {
			msg, ok := fault.Message(err)
			if !ok {
				s.log.Error("task refused", key, name, "err", err)
				msg = http.StatusText(http.StatusInternalServerError)
			}
			o = ordered.Of("result", nil, "detail", msg)
		}
		out.Set(name, o)
	}
	return out
}

// enqueue starts a task after those that run or wait and returns it, or with
// sync its result.
func (s *Server) enqueue(c echo.Context, q *jobs.Queue, request *ordered.Map, sync bool) (any, error) {
	if sync {
		return q.Do(c.Request().Context(), request, true)
	}
	t, err := q.Start(request, true)
	if err != nil {
		return nil, err
	}
	return t.Object(), nil
}
