// Package demo runs the loop on synthetic images for a person to watch: an
// annotator that knows the truth labels what a server asks for, the server
// retrains on schedule and publishes what its gate finds better, a harmed
// candidate is refused, and a rollback brings the version before back.
//
// It talks to the server over HTTP alone, as any client does.
package demo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/voxloop/voxloop/internal/phantom"
	"github.com/voxloop/voxloop/trainers/design"
)

// Model is the name of the demo's model.
const Model = "small"

const manifest = `name: small
description: A small U-Net whose weights know nothing yet
modality: MR
inputs:
  - {source: "image[MR]", normalize: [zscore: {voxels: all}]}
orientation: RAS
window: {size: [32, 48, 32], overlap: 0.25}
outputs: [{activation: softmax}]
labels:
  - {name: anterior, value: 1}
  - {name: posterior, value: 2}
`

// serverConfig trains all the time, for seconds where a lab takes the night. %s is the file of the training's configuration.
const serverConfig = `models: {put: gate, trained: gate}
loop:
  minutes: 0.1
  config: %s
  cron: ["@every 5s"]
  need_labels: false
  debounce: 0s
  cool_down: 0s
  holdout: {share: 0.25, least: 6}
`

const training = `augment: none
optimizer: {rate: 5.0e-3}
schedule: {warm_up: 10}
val_split: -1
batch: 2
seed: 3
`

// Folder is what a server of the demo is started with.
type Folder struct {
	Studies string // images, without labels
	App     string // the app's folder
	Config  string // the server's configuration
}

// In returns the folders below dir.
func In(dir string) Folder {
	app := filepath.Join(dir, "app")
	return Folder{Studies: filepath.Join(dir, "studies"), App: app, Config: filepath.Join(app, "server.yaml")}
}

// Prepare makes images without labels, an app whose only model has random
// weights, and a configuration that trains all the time.
func Prepare(ctx context.Context, dir string, images int, seed int64) (Folder, error) {
	f := In(dir)
	if err := phantom.WriteCases(ctx, f.Studies, images, seed); err != nil {
		return f, err
	}
	network, err := network().Build(uint64(seed)) //nolint:gosec // any bits will do
	if err != nil {
		return f, err
	}
	model := filepath.Join(f.App, Model)
	if err := os.MkdirAll(model, 0o750); err != nil {
		return f, err
	}
	settings := filepath.Join(f.App, "training.yaml")
	for name, data := range map[string][]byte{
		filepath.Join(model, "model.onnx"):    network.Bytes(),
		filepath.Join(model, "manifest.yaml"): []byte(manifest),
		filepath.Join(f.App, "app.yaml"):      []byte("name: demo\nmodels: [{name: small, path: small}]\n"),
		settings:                              []byte(training),
		f.Config:                              fmt.Appendf(nil, serverConfig, settings),
	} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			return f, err
		}
	}
	return f, nil
}

// network is a U-Net that learns the synthetic images within a minute on two
// cores.
func network() *design.Network {
	n := &design.Network{Type: design.Plain, Dimension: 3, Channels: 1, Classes: 3, Heads: 1}
	for i, features := range []int{8, 16, 32, 64} {
		s := design.Stage{Features: features, Kernel: []int{3, 3, 3}, Stride: []int{2, 2, 2}, Encode: 2, Decode: 1}
		switch i {
		case 0:
			s.Stride, s.Encode = []int{1, 1, 1}, 0
		case 3:
			s.Decode = 0
		}
		n.Stages = append(n.Stages, s)
	}
	return n
}

// Arguments are those of the program that serves the demo.
func (f Folder) Arguments(port string) []string {
	return []string{"serve", "--app", f.App, "--studies", f.Studies, "--config", f.Config, "--host", "127.0.0.1", "--port", port}
}
