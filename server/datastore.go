package server

import (
	"bytes"
	"crypto/md5" //nolint:gosec // clients may ask for this checksum; nothing relies on its strength
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

// datastoreGet answers GET /datastore/: counts, the whole index, or the pairs
// to train on.
func (s *Server) datastoreGet(c echo.Context) error {
	in := query(c)
	output := in.choice("output", "train", "stats", "all")
	if err := in.err(); err != nil {
		return err
	}
	switch output {
	case "all":
		var b bytes.Buffer
		if err := s.app.Store().Index(&b); err != nil {
			return err
		}
		return blob(c, http.StatusOK, "application/json", bytes.TrimSpace(b.Bytes()))
	case "train":
		return reply(c, s.app.TrainingPairs())
	}
	return reply(c, s.app.StatsObject())
}

// imagePut answers PUT /datastore/image and PUT /datastore/.
func (s *Server) imagePut(c echo.Context) error {
	in := query(c)
	id := in.text("image")
	f, err := s.form(c, in)
	if err != nil {
		return err
	}
	defer f.close()
	params, err := f.object("params")
	if err != nil {
		return err
	}
	file := f.needFile("file")
	if err := in.err(); err != nil {
		return err
	}
	img, err := s.app.AddImage(c.Request().Context(), id, params, file)
	if err != nil {
		return err
	}
	return reply(c, ordered.Of("image", img.ID))
}

// imageDelete answers DELETE /datastore/image and DELETE /datastore/.
func (s *Server) imageDelete(c echo.Context) error {
	in := query(c)
	id := in.need("id")
	if err := in.err(); err != nil {
		return err
	}
	if err := s.app.Store().RemoveImage(c.Request().Context(), id); err != nil {
		return err
	}
	return reply(c, &ordered.Map{})
}

// imageGet answers GET /datastore/image.
func (s *Server) imageGet(c echo.Context) error {
	in := query(c)
	id := in.need("image")
	if err := in.err(); err != nil {
		return err
	}
	img, err := s.app.ImageFile(id)
	if err != nil {
		return notFound(err, "Image NOT Found")
	}
	if err := sendFile(c, img.Files[0], filepath.Base(img.Files[0]), ""); err != nil {
		return notFound(gone(err), "Image NOT Found")
	}
	return nil
}

// imageHead answers HEAD /datastore/image.
func (s *Server) imageHead(c echo.Context) error {
	in := query(c)
	id, sum := in.need("image"), in.text("check_sum")
	if err := in.err(); err != nil {
		return err
	}
	img, err := s.app.ImageFile(id)
	if err != nil {
		return notFound(err, "Image NOT Found")
	}
	return head(c, img.Files[0], sum, "Image NOT Found")
}

// head answers whether a file is there and, when asked, has a checksum.
func head(c echo.Context, file, sum, text string) error {
	same, err := sameSum(file, sum)
	if err != nil {
		return notFound(gone(err), text)
	}
	if !same {
		return &textError{http.StatusNotFound, text}
	}
	return reply(c, &ordered.Map{})
}

// sameSum compares a file with "ALGO:hex" or the bare hex of SHA-256. An empty
// sum fits every file that is there.
func sameSum(file, sum string) (bool, error) {
	f, err := os.Open(file) //nolint:gosec // a file of the data store
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	if sum == "" {
		return true, nil
	}
	algo, digest, given := strings.Cut(sum, ":")
	if !given {
		algo, digest = "SHA256", sum
	}
	var h hash.Hash
	switch strings.ToUpper(algo) {
	case "SHA256":
		h = sha256.New()
	case "SHA512":
		h = sha512.New()
	case "MD5":
		h = md5.New() //nolint:gosec // see the import
	default:
		return false, fault.New(fault.Missing, "check_sum: %q is none of SHA256, SHA512 and MD5", algo)
	}
	if _, err := io.Copy(h, f); err != nil {
		return false, err
	}
	return strings.EqualFold(hex.EncodeToString(h.Sum(nil)), digest), nil
}

// notFound answers an unknown or impossible id as the protocol words it.
func notFound(err error, text string) error {
	if k := fault.KindOf(err); k == fault.NotFound || k == fault.Invalid {
		return &textError{http.StatusNotFound, text}
	}
	return err
}

// gone gives a file that vanished since it was looked up its kind.
func gone(err error) error {
	if os.IsNotExist(err) {
		return fault.Wrap(fault.NotFound, err, "the file is not there any more")
	}
	return err
}

// imageInfo answers GET /datastore/image/info; {} for an unknown image.
func (s *Server) imageInfo(c echo.Context) error {
	in := query(c)
	id := in.need("image")
	if err := in.err(); err != nil {
		return err
	}
	img, err := s.app.Store().Image(id)
	if err != nil {
		return emptyObject(c, err)
	}
	return reply(c, (&ordered.Map{}).Merge(img.Info).Set("path", img.Files[0]))
}

// emptyObject answers {} for something unknown, 404 for an id that can be
// none.
func emptyObject(c echo.Context, err error) error {
	if fault.KindOf(err) == fault.NotFound {
		return reply(c, &ordered.Map{})
	}
	return notFound(err, "Image NOT Found")
}

// imageInfoPut answers PUT /datastore/image/info.
func (s *Server) imageInfoPut(c echo.Context) error {
	in := query(c)
	id := in.need("image")
	return s.patchInfo(c, in, "info", func(patch *ordered.Map) error {
		return s.app.Store().UpdateImageInfo(c.Request().Context(), id, patch)
	})
}

// patchInfo merges the JSON object of a form field into an info.
func (s *Server) patchInfo(c echo.Context, in *input, field string, merge func(*ordered.Map) error) error {
	f, err := s.form(c, in)
	if err != nil {
		return err
	}
	defer f.close()
	patch, err := f.object(field)
	if err != nil {
		return err
	}
	if err := in.err(); err != nil {
		return err
	}
	if err := merge(apps.UserInfo(patch)); err != nil {
		return err
	}
	return reply(c, nil)
}

// dataset answers GET /datastore/dataset.
func (s *Server) dataset(c echo.Context) error {
	in := query(c)
	limit := in.number("limit_cases", 0)
	if err := in.err(); err != nil {
		return err
	}
	z, err := s.app.Dataset(c.Request().Context(), limit)
	if err != nil {
		return err
	}
	defer z.Remove()
	return sendFile(c, z.Path, z.Name, "application/octet-stream")
}

// labelOf returns the current label of an image.
func (s *Server) labelOf(id, tag string) (datastore.Label, error) {
	if err := datastore.CheckTag(tag); err != nil {
		return datastore.Label{}, err
	}
	img, err := s.app.Store().Image(id)
	if err != nil {
		return datastore.Label{}, err
	}
	l, found := img.Label(tag)
	if !found {
		return datastore.Label{}, fault.New(fault.NotFound, "the image has no label %q", tag)
	}
	return l, nil
}
