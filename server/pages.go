package server

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"

	"github.com/labstack/echo/v4"
)

//go:embed static/*.html
var pageFiles embed.FS

var pages = template.Must(template.ParseFS(pageFiles, "static/*.html"))

// page answers an HTML page. Pages are self-contained: no script, style or
// picture comes from elsewhere.
func (s *Server) page(c echo.Context, name string, data any) error {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, data); err != nil {
		return err
	}
	return blob(c, http.StatusOK, "text/html; charset=utf-8", b.Bytes())
}

// home answers GET /: what this server is, its state, how to connect.
func (s *Server) home(c echo.Context) error {
	scheme := "http://"
	if c.Request().TLS != nil {
		scheme = "https://"
	}
	return s.page(c, "home.html", map[string]any{"Status": s.app.Status(), "Address": scheme + c.Request().Host + s.opts.Prefix, "Prefix": s.opts.Prefix})
}

// docs answers GET /docs: the routes for people.
func (s *Server) docs(c echo.Context) error {
	type row struct {
		Method, Path, Summary string
		Query, Fields         []string
		Old                   bool
	}
	type group struct {
		Tag  string
		Rows []row
	}
	var groups []*group
	for _, r := range s.routes {
		if len(groups) == 0 || groups[len(groups)-1].Tag != r.tag {
			groups = append(groups, &group{Tag: r.tag})
		}
		g := groups[len(groups)-1]
		g.Rows = append(g.Rows, row{r.method, openPath(r.path), r.summary, names(r.query), names(r.fields), r.old})
	}
	return s.page(c, "docs.html", groups)
}

func names(params []param) []string {
	var out []string
	for _, p := range params {
		out = append(out, p.name)
	}
	return out
}

func (s *Server) openAPIDoc(c echo.Context) error {
	return blob(c, http.StatusOK, "application/json", s.openapi)
}
