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

// source is a model folder, on disk or embedded.
type source struct {
	fsys     fs.FS
	dir      string // on disk; "" when embedded
	id       string // of a version on a Shelf: the hash that its content must have
	m        *Manifest
	manifest []byte
}

// readSource reads and checks the manifest of a model folder.
func readSource(fsys fs.FS, dir, id string) (*source, error) {
	m, manifest, err := readModel(fsys)
	return &source{fsys: fsys, dir: dir, id: id, m: m, manifest: manifest}, err
}

// version is one loaded content of a model folder. It stays in service while
// leases on it last, also after a newer one has taken its place.
type version struct {
	id     string // hash of the folder's content
	sum    string // SHA-256 of the network's file
	size   int64  // of the network's file
	device string
	info   Info // what clients are told while it serves
	src    *source
	owner  *entry
	stages []stage
	gone   chan struct{} // closed when the network has been freed

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
// untouched graph and against the self-test that its folder keeps, and opens it
// for serving under a name. A device on which the network does not pass is given
// up for the CPU provider.
func (l *loader) load(ctx context.Context, name string, src *source) (*version, error) {
	data, err := fs.ReadFile(src.fsys, NetworkFile)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "%s cannot be read", NetworkFile)
	}
	m := src.m
	id := contentID(data, src.manifest, m.attached)
	if src.id != "" && id != src.id {
		return nil, fault.New(fault.Invalid, "the files of version %s are damaged: their hash is %s", src.id, id)
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
	s, device, err := l.pass(ctx, b, plain, device, src)
	if err != nil {
		return nil, err
	}
	n, err := newNetwork(m, b, s, l.maxVoxels, l.pool)
	if err != nil {
		return nil, err
	}
	n.open = (&opener{loader: l, src: src, id: id, device: device, base: n}).open
	sum := sha256.Sum256(data)
	v := &version{
		id: id, sum: hex.EncodeToString(sum[:]), size: int64(len(data)),
		device: device, info: m.info(name), src: src, stages: []stage{n}, gone: make(chan struct{}),
	}
	v.info.Version, v.info.State = v.id, Ready
	v.info.Config.Set("device", []any{device})
	return v, nil
}

// pass returns a session that has passed its self-test, and its device.
func (l *loader) pass(ctx context.Context, b *binding, plain *onnx.Model, device string, src *source) (*ort.Session, string, error) {
	s, err := l.open(ctx, b, plain, device, src)
	if err == nil || device == ort.CPU || ctx.Err() != nil {
		return s, device, err
	}
	l.log.Warn("the network does not run correctly on the device; the CPU provider is used", "device", device, "err", err)
	s, err = l.open(ctx, b, plain, ort.CPU, src)
	return s, ort.CPU, err
}

// open prepares the graph for a device, tests it, opens it and warms it up.
func (l *loader) open(ctx context.Context, b *binding, plain *onnx.Model, device string, src *source) (*ort.Session, error) {
	ready, applied, err := onnx.Prepare(plain, onnx.PrepareOptions{Provider: device})
	if err != nil {
		return nil, err
	}
	t := selfTest{loader: l, m: src.m, b: b, plain: plain, ready: ready.Bytes(), device: device}
	if err := t.check(ctx); err != nil {
		return nil, err
	}
	for _, a := range applied {
		l.log.Debug("graph rewritten", "rule", a.Rule, "node", a.Node, "count", a.Count, "device", device)
	}
	s, err := l.runtime.NewSession(t.ready, ort.SessionOptions{Device: device, Threads: l.threads})
	if err != nil {
		return nil, err
	}
	if err := t.warmUp(ctx, s, src); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}
