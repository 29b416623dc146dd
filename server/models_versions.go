package server

import (
	"github.com/labstack/echo/v4"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/ordered"
)

// The methods below change what a model is: PUT, POST and DELETE under /model/.
// GETs change nothing.

// modelPut answers PUT /model/{model}: a network, and with it, if the client
// wishes, other files of a model folder.
func (s *Server) modelPut(c echo.Context) error {
	in := query(c)
	reason := in.text("reason")
	f, err := s.form(c, in)
	if err != nil {
		return err
	}
	defer f.close()
	files := map[string]*apps.Upload{infer.NetworkFile: f.needFile("file")}
	if m := f.file("manifest"); m != nil {
		files[infer.ManifestFile] = m
	}
	for _, u := range f.files["files"] {
		files[u.Name] = u
	}
	if err := in.err(); err != nil {
		return err
	}
	v, published, err := s.app.PutModel(c.Request().Context(), c.Param("model"), files, reason)
	if err != nil {
		return err
	}
	o := ordered.Of("checksum", "SHA256:"+v.Checksum, "modified_time", v.Created.Unix())
	if !published {
		o.Set("candidate", v.ID)
	}
	return reply(c, o)
}

// modelDelete answers DELETE /model/{model}: the app's own version serves again.
func (s *Server) modelDelete(c echo.Context) error {
	if err := s.app.RemoveModel(c.Request().Context(), c.Param("model")); err != nil {
		return err
	}
	return reply(c, &ordered.Map{})
}

// modelVersions answers GET /model/{model}/versions.
func (s *Server) modelVersions(c echo.Context) error {
	versions, history, err := s.app.ModelVersions(c.Param("model"))
	if err != nil {
		return err
	}
	return reply(c, apps.VersionsObject(c.Param("model"), versions, history))
}

// modelPublish answers POST /model/{model}/publish.
func (s *Server) modelPublish(c echo.Context) error {
	in := query(c)
	version, reason := in.need("version"), in.text("reason")
	if err := in.err(); err != nil {
		return err
	}
	v, err := s.app.PublishModel(c.Request().Context(), c.Param("model"), version, infer.Cause{Origin: infer.OriginOperator, Reason: reason})
	return replyVersion(c, v, err)
}

// modelRollback answers POST /model/{model}/rollback.
func (s *Server) modelRollback(c echo.Context) error {
	v, err := s.app.RollbackModel(c.Request().Context(), c.Param("model"), query(c).text("reason"))
	return replyVersion(c, v, err)
}

// modelPin answers POST /model/{model}/pin and /unpin.
func (s *Server) modelPin(on bool) echo.HandlerFunc {
	return func(c echo.Context) error {
		in := query(c)
		version := in.need("version")
		if err := in.err(); err != nil {
			return err
		}
		v, err := s.app.PinModel(c.Param("model"), version, on)
		return replyVersion(c, v, err)
	}
}

// modelRetire answers POST /model/{model}/retire: the versions that were
// deleted.
func (s *Server) modelRetire(c echo.Context) error {
	gone, err := s.app.RetireModel(c.Request().Context(), c.Param("model"), query(c).text("version"))
	if err != nil {
		return err
	}
	return reply(c, ordered.Of("retired", append([]string{}, gone...)))
}

func replyVersion(c echo.Context, v infer.Version, err error) error {
	if err != nil {
		return err
	}
	return reply(c, apps.VersionObject(v))
}
