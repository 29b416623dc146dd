package apps

import (
	"context"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ort"
)

// Options say what an App is made of. Studies and one of Dir and FS are
// required; everything else has a working zero value.
type Options struct {
	Dir string // the app's folder
	FS  fs.FS  // an app that is no folder (embedded); used when Dir is empty

	Name        string // replaces app.yaml's name when set
	Description string // replaces app.yaml's description when set
	Version     string // replaces app.yaml's version when set

	Models []string          // serve only these; empty: all of app.yaml
	Conf   map[string]string // --conf pairs; "models" is a comma-separated Models

	Studies    string        // folder with the images
	State      string        // our folder; default <Studies>/.voxloop
	ReadOnly   bool          // refuse every write to the studies
	Extensions []string      // image files to look for, with dot; empty: the store's default
	Rescan     time.Duration // between two full looks at the studies; 0: the store's default

	// Runtime gives the ONNX Runtime library; called in the background when
	// the first model loads.
	Runtime func(context.Context) (*ort.Runtime, error)
	// Engine runs the models in place of the app's own: an execution back end of
	// another kind. The app closes it. nil: infer.Registry with the app's models.
	Engine Engine

	Device  string // "" means the best that loads here; cpu, openvino, cuda
	Threads int    // of one inference; 0 means all cores

	Sessions SessionOptions
	Limits   Limits
	Training TrainingOptions
	Versions VersionOptions
	Loop     LoopOptions
	Webhook  WebhookOptions

	Selection SelectionOptions

	Logs    *LogRing              // what GET /logs/ shows; nil: nothing is kept
	Logger  *slog.Logger          // nil means slog.Default()
	Metrics prometheus.Registerer // nil: not registered
}

// SessionOptions tune temporary images.
type SessionOptions struct {
	Enabled bool
	Expiry  time.Duration // how long an unused one lives, and the most a client can ask for; at most a minute means an hour
}

// Limits bound what one request can cost.
type Limits struct {
	MaxUpload   int64 // bytes of one request body and of one unpacked archive; 0 means 8 GiB
	MaxVoxels   int64 // of one image; 0 means the codec's default
	QueueLength int   // inferences that may wait or run; 0 means 64
}

const (
	defaultMaxUpload   = 8 << 30
	defaultQueueLength = 64
	defaultExpiry      = time.Hour
)

// withDefaults fills the zero values and reads Conf.
func (o Options) withDefaults() (Options, error) {
	if o.Studies == "" {
		return o, fault.New(fault.Invalid, "no studies folder is given")
	}
	if o.Dir == "" && o.FS == nil {
		return o, fault.New(fault.Invalid, "no app is given")
	}
	if o.State == "" {
		o.State = filepath.Join(o.Studies, ".voxloop")
	}
	if o.Limits.MaxUpload <= 0 {
		o.Limits.MaxUpload = defaultMaxUpload
	}
	if o.Limits.QueueLength <= 0 {
		o.Limits.QueueLength = defaultQueueLength
	}
	if o.Sessions.Expiry <= time.Minute {
		o.Sessions.Expiry = defaultExpiry
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Logs == nil {
		o.Logs = NewLogRing(0)
	}
	return o.withConf(), nil
}

// withConf applies the --conf pairs. A key without a meaning here is named in
// the log: a lab's command line for the reference may carry several.
func (o Options) withConf() Options {
	for _, k := range slices.Sorted(maps.Keys(o.Conf)) {
		if k != "models" {
			o.Logger.Warn("conf key has no meaning for this app", "key", k)
			continue
		}
		for name := range strings.SplitSeq(o.Conf[k], ",") {
			if name = strings.TrimSpace(name); name != "" && name != "all" {
				o.Models = append(o.Models, name)
			}
		}
	}
	return o
}

// choose returns the models of f that the options ask for, in f's order. A
// name that f does not have is refused.
func (o Options) choose(f File) ([]ModelRef, error) {
	if len(o.Models) == 0 {
		return f.Models, nil
	}
	var names []string
	for _, m := range f.Models {
		names = append(names, m.Name)
	}
	for _, want := range o.Models {
		if !slices.Contains(names, want) {
			return nil, fault.New(fault.Invalid, "the app has no model %q; it has %s", want, strings.Join(names, ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(f.Models), func(m ModelRef) bool { return !slices.Contains(o.Models, m.Name) }), nil
}
