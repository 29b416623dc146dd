package server

import (
	"path/filepath"

	"github.com/labstack/echo/v4"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

const noLabel = "Label NOT Found"

// labelPut answers PUT /datastore/label.
func (s *Server) labelPut(c echo.Context) error {
	in := query(c)
	id, tag := in.need("image"), in.text("tag")
	f, err := s.form(c, in)
	if err != nil {
		return err
	}
	defer f.close()
	params, err := f.object("params")
	if err != nil {
		return err
	}
	file := f.needFile("label")
	if err := in.err(); err != nil {
		return err
	}
	saved, err := s.app.SaveLabel(c.Request().Context(), id, tag, params, file)
	if err != nil {
		return err
	}
	out := ordered.Of("image", id, "label", id)
	if len(saved.Warnings) > 0 {
		out.Set("warnings", saved.Warnings)
	}
	return reply(c, out)
}

// labelGet answers GET /datastore/label.
func (s *Server) labelGet(c echo.Context) error {
	in := query(c)
	id, tag := in.need("label"), in.need("tag")
	if err := in.err(); err != nil {
		return err
	}
	l, err := s.labelOf(id, tag)
	if err != nil {
		return notFound(err, noLabel)
	}
	if err := sendFile(c, l.Path, filepath.Base(l.Path), ""); err != nil {
		return notFound(gone(err), noLabel)
	}
	return nil
}

// labelHead answers HEAD /datastore/label, whose label is called image.
func (s *Server) labelHead(c echo.Context) error {
	in := query(c)
	id, tag, sum := in.need("image"), in.need("tag"), in.text("check_sum")
	if err := in.err(); err != nil {
		return err
	}
	l, err := s.labelOf(id, tag)
	if err != nil {
		return notFound(err, noLabel)
	}
	return head(c, l.Path, sum, noLabel)
}

// labelDelete answers DELETE /datastore/label: {} for an unknown label too.
func (s *Server) labelDelete(c echo.Context) error {
	in := query(c)
	id, tag := in.need("id"), in.need("tag")
	if err := in.err(); err != nil {
		return err
	}
	err := datastore.CheckID(id)
	if err == nil {
		err = datastore.CheckTag(tag)
	}
	if err == nil {
		err = s.app.Store().RemoveLabel(c.Request().Context(), id, tag)
	}
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	return reply(c, &ordered.Map{})
}

// labelInfo answers GET /datastore/label/info; {} for an unknown label.
func (s *Server) labelInfo(c echo.Context) error {
	in := query(c)
	id, tag := in.need("label"), in.need("tag")
	if err := in.err(); err != nil {
		return err
	}
	l, err := s.labelOf(id, tag)
	if err != nil {
		return emptyObject(c, err)
	}
	return reply(c, (&ordered.Map{}).Merge(l.Info))
}

// labelInfoPut answers PUT /datastore/label/info (field info) and the older
// PUT /datastore/updatelabelinfo (field params).
func (s *Server) labelInfoPut(field string) echo.HandlerFunc {
	return func(c echo.Context) error {
		in := query(c)
		id, tag := in.need("label"), in.need("tag")
		return s.patchInfo(c, in, field, func(patch *ordered.Map) error {
			if err := datastore.CheckTag(tag); err != nil {
				return err
			}
			return s.app.Store().UpdateLabelInfo(c.Request().Context(), id, tag, patch)
		})
	}
}
