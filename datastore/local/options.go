package local

import (
	"context"
	"log/slog"
	"strings"
	"time"
)

// StateDir is the folder below the studies folder that holds our state when
// Options.State names no other.
const StateDir = ".voxloop"

// DefaultExtensions are the files taken for images and labels, in the order
// of preference when an id has several.
func DefaultExtensions() []string {
	return []string{".nii.gz", ".nii", ".nrrd", ".jpg", ".png", ".tif", ".svs", ".xml"}
}

// Options configures Open. Only Studies is required.
type Options struct {
	Studies string // folder with the images; created when absent
	State   string // folder of our own state; "" means <Studies>/.voxloop

	// ReadOnly promises that nothing below Studies is written. It is implied
	// when that folder cannot be written to, and needs State.
	ReadOnly bool

	// Extensions of images and labels, as ".nii.gz" or "*.nii.gz"; nil means
	// DefaultExtensions.
	Extensions []string

	// Validate looks into the file of a new or changed image, in the
	// background, one at a time. An error quarantines the image. The verdict is
	// kept until the file changes. nil accepts everything.
	Validate func(ctx context.Context, path string) error

	Debounce time.Duration // from a change to the rewrite of datastore_v2.json; 0 means 1 s, at most 2 s
	Rescan   time.Duration // between two full looks at the folders; 0 means 30 s

	// SyncDisabled leaves out every fsync: for tests and throw-away stores.
	SyncDisabled bool

	Logger *slog.Logger // nil means slog.Default()

	step func(name string) error // tests: called before each step of a write; an error is that step's
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Debounce <= 0 {
		o.Debounce = time.Second
	}
	o.Debounce = min(o.Debounce, 2*time.Second)
	if o.Rescan <= 0 {
		o.Rescan = 30 * time.Second
	}
	if len(o.Extensions) == 0 {
		o.Extensions = DefaultExtensions()
	}
	exts := make([]string, 0, len(o.Extensions))
	for _, e := range o.Extensions {
		e = strings.TrimPrefix(strings.TrimSpace(e), "*")
		if e != "" && e[0] != '.' {
			e = "." + e
		}
		if len(e) > 1 {
			exts = append(exts, e)
		}
	}
	o.Extensions = exts
	if o.step == nil {
		o.step = func(string) error { return nil }
	}
	return o
}
