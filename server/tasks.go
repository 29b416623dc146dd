package server

import (
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/voxloop/voxloop/internal/jobs"
	"github.com/voxloop/voxloop/internal/ordered"
)

// taskStatus answers GET /train/ and its like: the latest task, the running
// one, or all.
func taskStatus(q *jobs.Queue) echo.HandlerFunc {
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
			return reply(c, t.Object())
		}
		tasks := q.All()
		if len(tasks) == 0 {
			return &textError{http.StatusNotFound, fmt.Sprintf("No %s Tasks Found", q.Kind())}
		}
		if !all {
			return reply(c, tasks[len(tasks)-1].Object())
		}
		list := make([]*ordered.Map, 0, len(tasks))
		for _, t := range tasks {
			list = append(list, t.Object())
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

// startAll answers POST /scoring/, which starts a task for every scoring method
// of the app. No app has any yet: the object of started tasks is empty.
func (s *Server) startAll(c echo.Context) error {
	in := query(c)
	in.flag("run_sync", false)
	if _, err := s.object(c, in); err != nil {
		return err
	}
	if err := in.err(); err != nil {
		return err
	}
	return reply(c, &ordered.Map{})
}
