package server

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/voxloop/voxloop/internal/fault"
)

// staleGrace is how long the connection of a request with a stale
// Content-Length is kept for a body that did come after all. The answer has
// left before.
const staleGrace = 500 * time.Millisecond

// decodedPath makes the router see the decoded path: an escaped slash in a
// parameter then matches no route, as in the reference.
func decodedPath(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Request().URL.RawPath = ""
		return next(c)
	}
}

// noStaleBody keeps GET, HEAD and DELETE from waiting for a body. Some clients
// send the Content-Length of an earlier upload with them and no body: net/http
// would wait for it before it takes the connection's next request, so the
// connection is closed after the answer and the wait is cut short.
func noStaleBody(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		req := c.Request()
		switch req.Method {
		case http.MethodGet, http.MethodHead, http.MethodDelete:
			if req.ContentLength == 0 {
				break
			}
			c.Response().Header().Set(echo.HeaderConnection, "close")
			// The handler must not see the body; the server itself still holds it.
			c.SetRequest(req.WithContext(req.Context()))
			c.Request().Body = http.NoBody
			_ = http.NewResponseController(c.Response()).SetReadDeadline(time.Now().Add(staleGrace)) // tests have no connection
		}
		return next(c)
	}
}

// noOptions answers OPTIONS that ask for no permission (cors has answered
// those) like any method without a route; the router would say 204.
func (s *Server) noOptions(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.Request().Method == http.MethodOptions {
			return s.noRoute(c)
		}
		return next(c)
	}
}

// recovered turns a panic into 500 and a log entry; the server goes on.
func (s *Server) recovered(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler { //nolint:errorlint // net/http asks for this comparison
				panic(p)
			}
			s.log.Error("request panicked", "method", c.Request().Method, "route", c.Path(), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fault.New(fault.Internal, "Internal Server Error")
			c.Error(err)
			err = nil
		}()
		return next(c)
	}
}

// observed counts and times every request. Paths stay out of log and metrics:
// they may carry a patient's name; the route does not.
func (s *Server) observed(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		begin := time.Now()
		s.metrics.inflight.Inc()
		defer s.metrics.inflight.Dec()
		if err := next(c); err != nil {
			c.Error(err)
		}
		method, route, code, took := c.Request().Method, c.Path(), c.Response().Status, time.Since(begin)
		if _, known := s.known[route]; !known {
			route = "none"
		}
		s.metrics.observe(method, route, code, took)
		s.log.Debug("request", "method", method, "route", route, "status", code, "bytes", c.Response().Size, "dur", took)
		return nil
	}
}
