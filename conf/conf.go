// Package conf holds the configuration of a server: one plain struct with
// defaults, read from a file, the environment and flags, and checked once.
//
// Later sources win: defaults, then the file (YAML), then the environment, then
// flags. Every key K has the variable VOXLOOP_K (dots become underscores:
// limits.upload is VOXLOOP_LIMITS_UPLOAD); keys that MONAI Label has too may
// also come from its own variable, which the VOXLOOP_ one overrides. Empty
// variables count as unset. Nothing else in the program reads settings from the
// environment.
package conf

import (
	"time"
)

// Config is everything a server can be told. Default returns the values used
// when nothing is said. The mapstructure tags are the keys of the file.
type Config struct {
	App       string            `mapstructure:"app"`        // name of a built-in app, or a folder with app.yaml
	Studies   string            `mapstructure:"studies"`    // folder with the images
	State     string            `mapstructure:"state"`      // our own files; empty: .voxloop in the studies folder
	Conf      map[string]string `mapstructure:"conf"`       // the app's own options, for example models
	Host      string            `mapstructure:"host"`       // address to listen on; 0.0.0.0: every interface
	Port      int               `mapstructure:"port"`       // 0: any free port
	APIPrefix string            `mapstructure:"api_prefix"` // path before all protocol routes, "" or "/…"

	Device  string `mapstructure:"device"`  // cpu, openvino, cuda; empty: the best one that loads
	ORT     string `mapstructure:"ort"`     // path of an own ONNX Runtime library
	Threads int    `mapstructure:"threads"` // of the network; 0: all cores

	Limits    Limits    `mapstructure:"limits"`
	Datastore Datastore `mapstructure:"datastore"`
	Sessions  Sessions  `mapstructure:"sessions"`
	Training  Training  `mapstructure:"training"`
	Models    Models    `mapstructure:"models"`
	Loop      Loop      `mapstructure:"loop"`
	Selection Selection `mapstructure:"selection"`
	Webhook   Webhook   `mapstructure:"webhook"`
	CORS      CORS      `mapstructure:"cors"`
	TLS       TLS       `mapstructure:"tls"`
	Log       Log       `mapstructure:"log"`

	ShutdownGrace time.Duration `mapstructure:"shutdown_grace"` // how long a stop waits for what is running
}

// Limits bound what one client can make the server do.
type Limits struct {
	Upload Bytes `mapstructure:"upload"` // largest request body
	Voxels int64 `mapstructure:"voxels"` // largest image, all channels together
	Queue  int   `mapstructure:"queue"`  // inferences that may wait or run
}

// Datastore tunes how the studies folder is read.
type Datastore struct {
	Extensions []string      `mapstructure:"extensions"` // file names taken for images, as "*.nii.gz" or ".nii.gz"
	Rescan     time.Duration `mapstructure:"rescan"`     // time between two full looks at the folder, beside watching it
	ReadOnly   bool          `mapstructure:"read_only"`  // never write to the studies folder; needs state
}

// Sessions are images that a client uploads for a while.
type Sessions struct {
	Enabled bool          `mapstructure:"enabled"`
	Expiry  time.Duration `mapstructure:"expiry"` // after the last use; also the longest a client may ask for
}

// Models says what becomes of new versions of the models.
type Models struct {
	Keep         int    `mapstructure:"keep"`          // newest versions of a model that stay on disk
	KeepPrevious Bytes  `mapstructure:"keep_previous"` // networks that stay loaded for a rollback at once
	Put          string `mapstructure:"put"`           // publish, gate, candidate: what a file that a client sends becomes
	Trained      string `mapstructure:"trained"`       // publish, gate, candidate: what a training's model becomes
}

// Training says whether and how models learn from the labels.
type Training struct {
	Enabled    bool `mapstructure:"enabled"`
	Resume     bool `mapstructure:"resume"`     // take up again what a stop or a kill of the server interrupted
	Threads    int  `mapstructure:"threads"`    // of a training; 0: all cores
	Nice       int  `mapstructure:"nice"`       // how much a training gives way to inference: 0 (not) to 19
	Candidates int  `mapstructure:"candidates"` // newest trained models that are kept per model
}

// CORS says which web pages may use the server.
type CORS struct {
	Origins []string `mapstructure:"origins"` // empty: all
}

// TLS serves HTTPS when both files are set.
type TLS struct {
	Cert string `mapstructure:"cert"` // PEM, with intermediate certificates
	Key  string `mapstructure:"key"`  // PEM, not encrypted
}

// Log tunes the log on standard error.
type Log struct {
	Level  string `mapstructure:"level"`  // debug, info, warning, error
	Format string `mapstructure:"format"` // text, json; auto: text on a terminal
}

// Default returns the built-in values.
func Default() Config {
	return Config{
		Conf: map[string]string{},
		// As the reference: a lab's viewers run on other machines.
		Host: "0.0.0.0",
		Port: 8000,
		Limits: Limits{
			Upload: 4 << 30,
			Voxels: 1 << 31,
			Queue:  16,
		},
		Datastore: Datastore{
			Extensions: []string{"*.nii.gz", "*.nii", "*.nrrd"},
			Rescan:     time.Minute,
		},
		Sessions:      Sessions{Enabled: true, Expiry: time.Hour},
		Training:      Training{Enabled: true, Resume: true, Nice: 10, Candidates: 10},
		Models:        Models{Keep: 5, KeepPrevious: 1 << 30, Put: "publish", Trained: "gate"},
		Loop:          defaultLoop(),
		Selection:     defaultSelection(),
		Log:           Log{Level: "info", Format: "auto"},
		ShutdownGrace: 30 * time.Second,
	}
}
