package server

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

// statusClientGone marks in metrics and log a request whose client left; no
// one receives it.
const statusClientGone = 499

// statusOf is the only place where a kind of failure meets an HTTP status.
var statusOf = map[fault.Kind]int{
	fault.Internal:    http.StatusInternalServerError,
	fault.Invalid:     http.StatusBadRequest,
	fault.Missing:     http.StatusUnprocessableEntity,
	fault.NotFound:    http.StatusNotFound,
	fault.Conflict:    http.StatusConflict,
	fault.TooLarge:    http.StatusRequestEntityTooLarge,
	fault.Busy:        http.StatusTooManyRequests,
	fault.Unavailable: http.StatusServiceUnavailable,
	fault.NoSpace:     http.StatusInsufficientStorage,
	fault.Canceled:    statusClientGone,
}

// status returns the HTTP status of an error.
func status(err error) int {
	if errors.Is(err, apps.ErrSessionsOff) {
		return http.StatusNotAcceptable // the protocol's answer
	}
	if errors.Is(err, context.Canceled) {
		return statusClientGone
	}
	return statusOf[fault.KindOf(err)]
}

// requestError is a request whose parameters or fields do not fit: 422 with
// a list of what is wrong, in the form of the reference server.
type requestError struct{ problems []*ordered.Map }

func (e *requestError) Error() string { return "the request's parameters do not fit" }

// textError is an answer whose text and status are part of the protocol.
type textError struct {
	status int
	detail string
}

func (e *textError) Error() string { return e.detail }

// fail answers a request with an error. It is echo's HTTPErrorHandler.
func (s *Server) fail(err error, c echo.Context) {
	if c.Response().Committed {
		s.log.Debug("answer broken off", "route", c.Path(), "err", err)
		return
	}
	var he *echo.HTTPError
	var inv *requestError
	var te *textError
	switch {
	case errors.As(err, &he) && (he.Code == http.StatusNotFound || he.Code == http.StatusMethodNotAllowed):
		err = s.noRoute(c)
	case errors.As(err, &he):
		err = detail(c, he.Code, http.StatusText(he.Code))
	case errors.As(err, &inv):
		err = writeJSON(c, http.StatusUnprocessableEntity, ordered.Of("detail", inv.problems))
	case errors.As(err, &te):
		err = detail(c, te.status, te.detail)
	default:
		err = s.failFault(c, err)
	}
	if err != nil {
		s.log.Debug("answer broken off", "route", c.Path(), "err", err)
	}
}

func (s *Server) failFault(c echo.Context, err error) error {
	code := status(err)
	msg, ok := fault.Message(err)
	if !ok || code == http.StatusInternalServerError && fault.KindOf(err) == fault.Internal && msg == "" {
		msg = http.StatusText(http.StatusInternalServerError)
	}
	if code >= http.StatusInternalServerError {
		s.log.Error("request failed", "method", c.Request().Method, "route", c.Path(), "status", code, "err", err)
	} else {
		s.log.Debug("request refused", "method", c.Request().Method, "route", c.Path(), "status", code, "err", err)
	}
	if code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable {
		c.Response().Header().Set("Retry-After", "5")
	}
	return detail(c, code, msg)
}

// detail answers {"detail": text}.
func detail(c echo.Context, code int, text string) error {
	return writeJSON(c, code, ordered.Of("detail", strings.ToValidUTF8(text, "\uFFFD")))
}
