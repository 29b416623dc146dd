package server

import (
	"encoding/json"
	"math"

	"github.com/labstack/echo/v4"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/internal/ordered"
)

var wsiOutputs = []string{"asap", "dsa", "json"}

// wsi answers POST /infer/wsi/{model}: the whole-slide form of an inference
// with a JSON body. This server's images are volumes: they are segmented whole
// and the region keys, though checked, have no effect.
func (s *Server) wsi(c echo.Context) error {
	in := query(c)
	req := apps.InferRequest{Model: c.Param("model"), Image: in.text("image"), Session: in.text("session_id")}
	output := in.choice("output", wsiOutputs...)
	body, err := s.object(c, in)
	if err != nil {
		return err
	}
	return s.wsiInfer(c, in, req, body, output)
}

// wsiForm answers POST /infer/wsi_v2/{model}: the same with a form, and with
// an uploaded image.
func (s *Server) wsiForm(c echo.Context) error {
	in := query(c)
	req := apps.InferRequest{Model: c.Param("model"), Image: in.text("image"), Session: in.text("session_id")}
	output := in.choice("output", wsiOutputs...)
	f, err := s.form(c, in)
	if err != nil {
		return err
	}
	defer f.close()
	body, err := f.object("wsi")
	if err != nil {
		return err
	}
	req.File = f.file("file")
	return s.wsiInfer(c, in, req, body, output)
}

func (s *Server) wsiInfer(c echo.Context, in *input, req apps.InferRequest, body *ordered.Map, output string) error {
	in.checkWSI(body)
	if err := in.err(); err != nil {
		return err
	}
	req.Params, req.NoFile = body.Sub("params"), output == "json"
	res, err := s.app.Infer(c.Request().Context(), req)
	if err != nil {
		return err
	}
	defer res.Close()
	if res.File == nil {
		return reply(c, res.Params)
	}
	return sendFile(c, res.File.Path, res.File.Name, "")
}

// checkWSI refuses the five region keys and params when they have a wrong
// type.
func (q *input) checkWSI(body *ordered.Map) {
	for _, key := range []string{"level", "min_poly_area"} {
		if v, ok := body.Get(key); ok && !integral(v) {
			q.problem("int_type", []any{"body", key}, "Input should be a valid integer", v, nil)
		}
	}
	for _, key := range []string{"location", "size", "tile_size"} {
		v, ok := body.Get(key)
		if !ok {
			continue
		}
		list, isList := v.([]any)
		if !isList || len(list) != 2 || !integral(list[0]) || !integral(list[1]) {
			q.problem("list_type", []any{"body", key}, "Input should be a list of two integers", v, nil)
		}
	}
	if v, ok := body.Get("params"); ok {
		if _, isObject := v.(*ordered.Map); !isObject {
			q.problem("dict_type", []any{"body", "params"}, "Input should be a valid dictionary", v, nil)
		}
	}
}

// integral accepts 80 and 80.0.
func integral(v any) bool {
	n, ok := v.(json.Number)
	if !ok {
		return false
	}
	f, err := n.Float64()
	return err == nil && f == math.Trunc(f)
}
