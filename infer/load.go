package infer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"slices"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort"
)

// version is one loaded content of a model folder. It stays in service while
// leases on it last, also after a newer one has taken its place.
type version struct {
	id     string // hash of the folder's content
	device string
	stages []stage

	// Guarded by the registry.
	leases  int
	retired bool // closes with its last lease
}

func (v *version) close() error {
	var errs []error
	for _, s := range v.stages {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}

// loader makes versions.
type loader struct {
	runtime   *ort.Runtime
	device    string // wanted; "" takes the best
	threads   int
	maxVoxels int64
	cacheDir  string
	log       *slog.Logger
	pool      *buffers
	testing   chan struct{} // one self-test at a time: each holds a second session
}

// readModel reads and checks the manifest of a model folder.
func readModel(fsys fs.FS) (*Manifest, []byte, error) {
	data, err := fs.ReadFile(fsys, ManifestFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fault.New(fault.NotFound, "the model folder has no %s", ManifestFile)
	}
	if err != nil {
		return nil, nil, fault.Wrap(fault.Invalid, err, "%s cannot be read", ManifestFile)
	}
	m, err := ParseManifest(data)
	if err != nil {
		return nil, nil, err
	}
	if err := m.attach(fsys); err != nil {
		return nil, nil, refuse(err)
	}
	if _, err := fs.Stat(fsys, NetworkFile); err != nil {
		return nil, nil, fault.Wrap(fault.NotFound, err, "the model folder has no %s that can be read", NetworkFile)
	}
	return m, data, nil
}

// contentID is the hash of a model folder's content: 32 hexadecimal digits.
// attached are the hashes of the files that the manifest names.
func contentID(network, manifest, attached []byte) string {
	a, b := sha256.Sum256(network), sha256.Sum256(manifest)
	sum := sha256.Sum256(slices.Concat(a[:], b[:], attached))
	return hex.EncodeToString(sum[:16])
}

// load reads the network, prepares it for the device, tests it against the
// untouched graph and opens it for serving. A device on which the network does
// not pass is given up for the CPU provider.
func (l *loader) load(ctx context.Context, fsys fs.FS, m *Manifest, manifest []byte) (*version, error) {
	data, err := fs.ReadFile(fsys, NetworkFile)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "%s cannot be read", NetworkFile)
	}
	graph, err := onnx.Parse(data)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "%s is no readable network", NetworkFile)
	}
	b, err := bind(m, graph)
	if err != nil {
		return nil, err
	}
	plain, err := b.fixed(m, graph)
	if err != nil {
		return nil, err
	}
	device := l.device
	if device == "" {
		device = l.runtime.Best()
	}
	if err := l.runtime.ProviderError(device); err != nil {
		return nil, err
	}
	s, device, err := l.pass(ctx, m, b, plain, device)
	if err != nil {
		return nil, err
	}
	n, err := newNetwork(m, b, s, l.maxVoxels, l.pool)
	if err != nil {
		return nil, err
	}
	return &version{id: contentID(data, manifest, m.attached), device: device, stages: []stage{n}}, nil
}

// pass returns a session that has passed its self-test, and its device.
func (l *loader) pass(ctx context.Context, m *Manifest, b *binding, plain *onnx.Model, device string) (*ort.Session, string, error) {
	s, err := l.open(ctx, m, b, plain, device)
	if err == nil || device == ort.CPU || ctx.Err() != nil {
		return s, device, err
	}
	l.log.Warn("the network does not run correctly on the device; the CPU provider is used", "device", device, "err", err)
	s, err = l.open(ctx, m, b, plain, ort.CPU)
	return s, ort.CPU, err
}

// open prepares the graph for a device, tests it and opens it.
func (l *loader) open(ctx context.Context, m *Manifest, b *binding, plain *onnx.Model, device string) (*ort.Session, error) {
	ready, applied, err := onnx.Prepare(plain, onnx.PrepareOptions{Provider: device})
	if err != nil {
		return nil, err
	}
	t := selfTest{
		loader: l, m: m, b: b, plain: plain, ready: ready.Bytes(), device: device,
	}
	if err := t.check(ctx); err != nil {
		return nil, err
	}
	for _, a := range applied {
		l.log.Debug("graph rewritten", "rule", a.Rule, "node", a.Node, "count", a.Count, "device", device)
	}
	return l.runtime.NewSession(t.ready, ort.SessionOptions{Device: device, Threads: l.threads})
}
