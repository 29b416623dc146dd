package server

import (
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
)

const (
	allowedMethods = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, QUERY"
	preflightVary  = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers, Access-Control-Request-Private-Network"
)

// cors lets browsers of the allowed origins use the server. The origin is
// echoed, as the reference does: with credentials allowed a "*" would mean
// nothing. An empty list allows every origin.
func cors(origins []string) echo.MiddlewareFunc {
	allowed := make([]string, 0, len(origins))
	for _, o := range origins {
		allowed = append(allowed, strings.TrimRight(o, "/"))
	}
	accepts := func(origin string) bool {
		return len(allowed) == 0 || slices.Contains(allowed, "*") || slices.Contains(allowed, origin)
	}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			req, h := c.Request(), c.Response().Header()
			origin := req.Header.Get(echo.HeaderOrigin)
			if origin != "" && req.Method == http.MethodOptions && req.Header.Get(echo.HeaderAccessControlRequestMethod) != "" {
				return preflight(c, origin, accepts(origin))
			}
			h.Set(echo.HeaderVary, "Origin")
			if origin != "" && accepts(origin) {
				h.Set(echo.HeaderAccessControlAllowOrigin, origin)
				h.Set(echo.HeaderAccessControlAllowCredentials, "true")
			}
			return next(c)
		}
	}
}

// preflight answers the question that a browser asks before the real request.
func preflight(c echo.Context, origin string, accepted bool) error {
	h := c.Response().Header()
	h.Set(echo.HeaderVary, preflightVary)
	h.Set(echo.HeaderAccessControlAllowMethods, allowedMethods)
	h.Set(echo.HeaderAccessControlMaxAge, "600")
	h.Set(echo.HeaderAccessControlAllowCredentials, "true")
	if asked := c.Request().Header.Get(echo.HeaderAccessControlRequestHeaders); asked != "" {
		h.Set(echo.HeaderAccessControlAllowHeaders, asked)
	}
	if !accepted {
		return blob(c, http.StatusBadRequest, "text/plain; charset=utf-8", []byte("Disallowed CORS origin"))
	}
	h.Set(echo.HeaderAccessControlAllowOrigin, origin)
	return blob(c, http.StatusOK, "text/plain; charset=utf-8", []byte("OK"))
}
