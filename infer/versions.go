package infer

import (
	"encoding/json"
	"time"
)

// Origin says where a version, or the wish to swap, comes from.
type Origin string

// The origins.
const (
	OriginApp      Origin = "app"      // came with the app
	OriginPut      Origin = "put"      // a client sent a file
	OriginTraining Origin = "training" // a trainer made it; such a version never replaces a pinned one
	OriginOperator Origin = "operator" // somebody chose it by name
	OriginRollback Origin = "rollback" // somebody went back
	OriginStart    Origin = "start"    // the server found at its start that the version in service is unusable
)

// Cause says why something was done.
type Cause struct {
	Origin Origin `json:"origin"`
	Reason string `json:"reason,omitempty"`
}

// AppVersion names, wherever a version is asked for, the one that came with
// the app.
const AppVersion = "app"

// Version is one content of a model: a folder with model.onnx, manifest.yaml
// and the files that the manifest names. Its name is the hash of these.
type Version struct {
	ID       string    // 32 hexadecimal digits; AppVersion for an app's own that could not be read
	Parent   string    // what it was made from; "" when unknown
	Created  time.Time // when it was recorded; zero for the app's own
	Cause              // of its recording
	Checksum string    // SHA-256 of model.onnx in hexadecimal digits; "" for an app's own before it is loaded
	Bytes    int64     // size of model.onnx

	State     State  // ready: its network is loaded
	Why       string // it is unavailable
	InService bool
	Previous  bool // a rollback would bring it back
	Pinned    bool // kept for ever; in service, not replaced by training
	App       bool // the app's own

	Training json.RawMessage // content of training.json; nil when it was not trained here
}

// Swap is one line of a model's history: a change of the version in service,
// or one that was refused.
type Swap struct {
	N       int           `json:"n"` // from 1; a refused one has the number of the last done
	Time    time.Time     `json:"time"`
	From    string        `json:"from"` // ids; AppVersion for the app's own
	To      string        `json:"to"`
	Cause                 // why
	Refused string        `json:"refused,omitempty"` // why it was not done; "": it was
	Took    time.Duration `json:"took_ns"`           // from the wish to the new version's first possible request
}

// Further files of a version's folder.
const (
	// TrainingFile is what a trainer tells about the model: a JSON object. Its
	// key "parent" names the version that was trained further.
	TrainingFile = "training.json"

	versionFile = "version.json"
)

// record is the content of version.json. It is written once.
type record struct {
	Format  int       `json:"format"` // 1
	ID      string    `json:"version"`
	Parent  string    `json:"parent,omitempty"`
	Created time.Time `json:"created"`
	Cause
	Checksum string `json:"network_sha256"`
	Bytes    int64  `json:"network_bytes"`
}
