package server

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"
)

// route is one row of the table that the router, the answers 405 and 307,
// /openapi.json and /docs are made from.
type route struct {
	method, path string // path in echo's form: ":name" is one segment, "*" the rest
	handle       echo.HandlerFunc
	tag, summary string
	query        []param
	body         string  // "", "json" or "form"
	fields       []param // of a form
	answers      string  // content type of the answer
	old          bool    // kept for clients; new code uses another path
}

// param is a query parameter or a form field.
type param struct {
	name, kind string // kind: string, boolean, integer, file, json
	needed     bool
	words      []string // the allowed values of an enumeration
}

// whole passes a request on when its path fits the route's pattern. The router
// lets a path parameter be empty or, at the end, hold slashes; the protocol
// does not.
func (s *Server) whole(r route) echo.HandlerFunc {
	return func(c echo.Context) error {
		if !matches(r.path, c.Request().URL.Path) {
			return s.noRoute(c)
		}
		return r.handle(c)
	}
}

// noRoute answers a request that no route takes: 405 when its path has routes
// of other methods, 307 when the path with or without a slash at its end has,
// else 404.
func (s *Server) noRoute(c echo.Context) error {
	req := c.Request()
	if methods := s.methods(req.URL.Path); len(methods) > 0 {
		c.Response().Header().Set(echo.HeaderAllow, strings.Join(methods, ", "))
		return detail(c, http.StatusMethodNotAllowed, "Method Not Allowed")
	}
	other := strings.TrimRight(req.URL.Path, "/")
	if other == req.URL.Path {
		other += "/"
	}
	if other == "" || len(s.methods(other)) == 0 {
		return detail(c, http.StatusNotFound, "Not Found")
	}
	u := url.URL{Scheme: "http", Host: req.Host, Path: other, RawQuery: req.URL.RawQuery}
	if req.TLS != nil {
		u.Scheme = "https"
	}
	h := c.Response().Header()
	h.Set(echo.HeaderLocation, u.String())
	h.Set(echo.HeaderContentLength, "0")
	c.Response().WriteHeader(http.StatusTemporaryRedirect)
	return nil
}

// methods returns the methods of the routes that match a path, in the table's
// order.
func (s *Server) methods(path string) []string {
	var out []string
	for _, r := range s.routes {
		if matches(r.path, path) {
			out = append(out, r.method)
		}
	}
	return out
}

// matches reports whether a path fits a route's pattern.
func matches(pattern, path string) bool {
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
	for i, w := range want {
		switch {
		case w == "*":
			return len(have) > i
		case i >= len(have):
			return false
		case strings.HasPrefix(w, ":"):
			if have[i] == "" {
				return false
			}
		case w != have[i]:
			return false
		}
	}
	return len(want) == len(have)
}
