package evaluate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/voxloop/voxloop/internal/atomicfile"
)

// OverlayFolder is where WriteTo puts its pictures.
const OverlayFolder = "overlays"

// calibrationFile holds the calibration by case.
const calibrationFile = "calibration.csv"

// ownPicture matches the names that WriteTo gives.
var ownPicture = regexp.MustCompile(`^\d{3}_.*\.png$`)

// WriteTo writes cases.csv, summary.json, summary.md, with probabilities
// calibration.csv, and, for the worst cases that have wrong voxels, at most n
// pictures into dir, which is made when it is absent. s is r's summary. Files of an earlier evaluation are replaced, each as a whole. images
// is a folder with the images behind the maps, or empty. bare names the cases
// that are drawn without their image, because it cannot be used.
func (r *Result) WriteTo(ctx context.Context, s Summary, dir string, n int, images string) (bare []Skip, err error) {
	if err := Prepare(dir, images); err != nil {
		return nil, err
	}
	files := []resultFile{{"cases.csv", r.WriteCSV}, {"summary.json", s.WriteJSON}, {"summary.md", s.WriteMarkdown}}
	if s.Calibration != nil {
		files = append(files, resultFile{calibrationFile, r.writeCalibration})
	} else if err := os.Remove(filepath.Join(dir, calibrationFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err // it would tell of an earlier evaluation
	}
	for _, f := range files {
		if err := atomicfile.Write(filepath.Join(dir, f.name), 0o644, f.write); err != nil {
			return nil, err
		}
	}
	return r.writeOverlays(ctx, filepath.Join(dir, OverlayFolder), n, images)
}

type resultFile struct {
	name  string
	write func(io.Writer) error
}

// Prepare makes the folder for the results and looks whether images, unless
// empty, can be listed: what would otherwise show after the work only.
func Prepare(dir, images string) error {
	if images != "" {
		if _, err := listImages(images); err != nil {
			return err
		}
	}
	return os.MkdirAll(dir, 0o755) //nolint:gosec // results are shared with the people who work on them
}

// longestName keeps the names of pictures, and of the temporary files that they
// are written to, within the 255 bytes that file systems allow.
const longestName = 200

// shortName cuts a name that is too long, not within a character.
func shortName(name string) string {
	if len(name) <= longestName {
		return name
	}
	return strings.ToValidUTF8(name[:longestName], "")
}

// writeOverlays draws the worst cases; pictures of an earlier evaluation go.
func (r *Result) writeOverlays(ctx context.Context, dir string, n int, images string) (bare []Skip, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // as above
		return nil, err
	}
	old, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range old {
		if ownPicture.MatchString(e.Name()) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return nil, err
			}
		}
	}
	backgrounds := map[string][]string{}
	if images != "" {
		if backgrounds, err = listImages(images); err != nil {
			return nil, err
		}
	}
	drawn := 0
	for _, c := range r.WorstFirst() {
		if drawn == n {
			break
		}
		if c.Wrong == 0 {
			continue
		}
		var image string
		if b := backgrounds[c.Name]; len(b) == 1 {
			image = filepath.Join(images, b[0])
		}
		drawn++
		path := filepath.Join(dir, fmt.Sprintf("%03d_%s.png", drawn, shortName(c.Name)))
		without, err := drawCase(ctx, path, c.pair, image)
		if err != nil {
			return bare, fmt.Errorf("picture of %s: %w", c.Name, err)
		}
		if without != nil {
			bare = append(bare, Skip{c.Name, reason(without)})
		}
	}
	return bare, nil
}
