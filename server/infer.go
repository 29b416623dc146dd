package server

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/internal/ordered"
)

// modelVersionHeader names the version of the model that answered.
const modelVersionHeader = "X-Model-Version"

var inferOutputs = []string{"image", "json", "all", "dicom_seg"}

// infer answers POST /infer/{model}.
func (s *Server) infer(c echo.Context) error {
	in := query(c)
	req := apps.InferRequest{Model: c.Param("model"), Image: in.text("image"), Session: in.text("session_id")}
	output := in.choice("output", inferOutputs...)
	f, err := s.form(c, in)
	if err != nil {
		return err
	}
	defer f.close()
	if req.Params, err = f.object("params"); err != nil {
		return err
	}
	req.File, req.Label = f.file("file"), f.file("label")
	if err := in.err(); err != nil {
		return err
	}
	if output == "dicom_seg" {
		return &textError{http.StatusBadRequest, "DICOM SEG format is not supported in a non-DICOM datastore"}
	}
	req.NoFile = output == "json"
	res, err := s.app.Infer(c.Request().Context(), req)
	if err != nil {
		return err
	}
	defer res.Close()
	c.Response().Header().Set(modelVersionHeader, res.Version)
	switch {
	case output == "image" && res.File == nil:
		return &textError{http.StatusUnprocessableEntity, "output=image needs a result file, params.result_write_to_file forbids it"}
	case output == "image":
		return sendFile(c, res.File.Path, res.File.Name, "")
	case res.File == nil:
		return reply(c, res.Params)
	}
	return sendParts(c, res)
}

// sendParts answers the params and the result file as multipart/form-data.
// Clients cut it apart by hand: the order of the parts and of their headers,
// the spelling, the unquoted boundary and the Content-Length all count.
func sendParts(c echo.Context, res *apps.InferResult) error {
	params, err := ordered.Marshal(res.Params)
	if err != nil {
		return err
	}
	file, err := os.Open(res.File.Path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	boundary := newBoundary()
	head := fmt.Sprintf("--%s\r\nContent-Disposition: form-data; name=\"params\"\r\nContent-Type: application/json\r\n\r\n%s\r\n"+
		"--%s\r\nContent-Disposition: form-data; name=\"image\"; filename=\"%s\"\r\nContent-Type: %s\r\n\r\n",
		boundary, spaced(params), boundary, res.File.Name, mimeOf(res.File.Name))
	tail := "\r\n--" + boundary + "--\r\n"
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, "multipart/form-data; boundary="+boundary)
	h.Set(echo.HeaderContentLength, strconv.FormatInt(int64(len(head))+info.Size()+int64(len(tail)), 10))
	c.Response().WriteHeader(http.StatusOK)
	for _, part := range []io.Reader{bytes.NewReader([]byte(head)), file, bytes.NewReader([]byte(tail))} {
		if _, err := io.Copy(c.Response(), part); err != nil {
			return err
		}
	}
	return nil
}

func newBoundary() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// spaced rewrites compact JSON in Python's default style: a space after every
// separator, non-ASCII characters escaped.
func spaced(compact []byte) []byte {
	out := make([]byte, 0, len(compact)+len(compact)/8)
	inText, escaped := false, false
	for _, b := range compact {
		out = append(out, b)
		switch {
		case escaped:
			escaped = false
		case inText && b == '\\':
			escaped = true
		case b == '"':
			inText = !inText
		case !inText && (b == ',' || b == ':'):
			out = append(out, ' ')
		}
	}
	return ordered.EscapeASCII(out)
}
