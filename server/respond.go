package server

import (
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/voxloop/voxloop/internal/ordered"
)

// writeJSON answers compact JSON in the order of v's keys.
func writeJSON(c echo.Context, code int, v any) error {
	data, err := ordered.Marshal(v)
	if err != nil {
		return err
	}
	return blob(c, code, "application/json", data)
}

func reply(c echo.Context, v any) error { return writeJSON(c, http.StatusOK, v) }

// blob answers bytes with their length. HEAD gets the headers only.
func blob(c echo.Context, code int, contentType string, data []byte) error {
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, contentType)
	h.Set(echo.HeaderContentLength, strconv.Itoa(len(data)))
	c.Response().WriteHeader(code)
	if c.Request().Method == http.MethodHead {
		return nil
	}
	_, err := c.Response().Write(data)
	return err
}

// content is a file to be answered.
type content struct {
	io.ReadSeeker
	name     string // for the client; "" sends no content-disposition
	mime     string // "" means by the name
	modified time.Time
	size     int64
}

// sendFile answers a file of the disk under a name for the client.
func sendFile(c echo.Context, file, name, mimeType string) error {
	f, err := os.Open(file) //nolint:gosec // a file of the data store or of our state
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return send(c, content{ReadSeeker: f, name: name, mime: mimeType, modified: info.ModTime(), size: info.Size()})
}

// send answers a file with its length, entity tag and, for range requests, the
// asked part.
func send(c echo.Context, f content) error {
	if f.mime == "" {
		f.mime = mimeOf(f.name)
	}
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, f.mime)
	if f.name != "" {
		h.Set(echo.HeaderContentDisposition, disposition(f.name))
	}
	h.Set("Etag", entityTag(f.modified, f.size))
	http.ServeContent(c.Response(), c.Request(), "", f.modified, f.ReadSeeker)
	return nil
}

// entityTag names a version of a file by its time and size.
func entityTag(modified time.Time, size int64) string {
	sum := fnv.New128a()
	_, _ = fmt.Fprintf(sum, "%d-%d", modified.UnixNano(), size) // never fails
	return `"` + hex.EncodeToString(sum.Sum(nil)) + `"`
}

// disposition returns a Content-Disposition. Clients understand the two forms
// that Python servers send and no other.
func disposition(name string) string {
	if q := quote(name); q != name {
		return "attachment; filename*=utf-8''" + q
	}
	return `attachment; filename="` + name + `"`
}

// quote percent-encodes everything but letters, digits and _ . - ~ /.
func quote(s string) string {
	return strings.NewReplacer("+", "%20", "%7E", "~", "%2F", "/").Replace(url.QueryEscape(s))
}

// mimeTypes are the types that clients expect. Image files of the field have
// to be application/octet-stream: one client looks for that text.
var mimeTypes = map[string]string{
	".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".tif": "image/tiff", ".tiff": "image/tiff",
	".xml": "text/xml", ".json": "application/json", ".zip": "application/zip", ".txt": "text/plain; charset=utf-8",
}

func mimeOf(name string) string {
	if t, ok := mimeTypes[strings.ToLower(path.Ext(name))]; ok {
		return t
	}
	return "application/octet-stream"
}

// isJSON reports whether a Content-Type announces JSON.
func isJSON(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && (t == "application/json" || strings.HasPrefix(t, "application/") && strings.HasSuffix(t, "+json"))
}
