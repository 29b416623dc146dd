package apps

import (
	"context"
	"io/fs"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/plugins"
	"github.com/voxloop/voxloop/trainers"
	"github.com/voxloop/voxloop/trainers/native"
)

// trainer is one entry of the app's trainers.
type trainer struct {
	name, model, description string
	devices                  []string // the first is the default
	trainer                  trainers.Trainer
}

// findTrainers makes the trainers of app.yaml at once and those of the models
// in the background: whether a model can learn takes a look at its network.
func (t *training) findTrainers() {
	for _, p := range t.app.file.Trainers {
		t.external = append(t.external, t.plugin(p))
	}
	t.wg.Go(func() {
		defer close(t.known)
		for _, m := range t.app.refs {
			if t.ctx.Err() != nil || slices.ContainsFunc(t.external, func(e trainer) bool { return e.name == m.Name }) {
				continue
			}
			_ = t.app.engine.Wait(t.ctx, m.Name) // its failure is reported by the engine
			info, ok := t.app.engine.Model(m.Name)
			if !ok || info.State != infer.Ready {
				continue
			}
			if err := t.canLearn(m.Name); err != nil {
				msg, _ := fault.Message(err)
				t.log.Info("model cannot be trained", "model", m.Name, "why", msg)
				continue
			}
			t.mu.Lock()
			t.native = append(t.native, t.nativeTrainer(info))
			t.mu.Unlock()
		}
		debug.FreeOSMemory() // networks were read
	})
}

// canLearn reports why a model's network cannot be trained natively.
func (t *training) canLearn(model string) error {
	fsys, err := t.app.modelFS(model)
	if err != nil {
		return err
	}
	p, err := infer.OpenPipeline(fsys, infer.PipelineOptions{})
	if err != nil {
		return err
	}
	names, _ := native.Operators()
	if op := unknownOperator(p.Network(), names); op != "" {
		return fault.New(fault.Invalid, "no rule trains the operator %s", op)
	}
	return nil
}

func unknownOperator(m *onnx.Model, known []string) string {
	for _, n := range m.Graph.Nodes {
		if !slices.Contains(known, n.Op) {
			return n.Op
		}
	}
	return ""
}

// devices are those that this program trains on, the usual one first: the card of
// a server that infers on one.
func (t *training) devices() []string {
	if t.app.opts.Device == ort.CUDA {
		return []string{ort.CUDA, ort.CPU}
	}
	return []string{ort.CPU}
}

func (t *training) nativeTrainer(m infer.Info) trainer {
	return trainer{
		name: m.Name, model: m.Name, description: "Trains " + m.Name + " further: " + m.Description,
		devices: t.devices(),
		trainer: &trainers.Process{Command: t.o.Command, Nice: t.o.Nice, Logger: t.log.With("trainer", m.Name)},
	}
}

func (t *training) plugin(p plugins.Trainer) trainer {
	dir := ""
	if t.app.opts.Dir != "" {
		dir, _ = filepath.Abs(t.app.opts.Dir) // fails where the working folder is gone; then it is the present one
	}
	description := p.Description
	if description == "" {
		description = "Trains " + p.Model + " with a program of its own"
	}
	return trainer{
		name: p.Name, model: p.Model, description: description, devices: p.Devices,
		trainer: p.Process(dir, t.o.Nice, t.log.With("trainer", p.Name)),
	}
}

// trainers returns the trainers known so far in the order of the models, then
// those of app.yaml.
func (t *training) trainers() []trainer {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Concat(t.native, t.external)
}

// find returns a trainer by name. It waits for the look at the networks.
func (t *training) find(ctx context.Context, name string) (trainer, error) {
	for range 2 {
		all := t.trainers()
		if i := slices.IndexFunc(all, func(x trainer) bool { return x.name == name }); i >= 0 {
			return all[i], nil
		}
		select {
		case <-t.known:
		case <-ctx.Done():
			return trainer{}, fault.Wrap(fault.Canceled, ctx.Err(), "the caller went away")
		}
	}
	return trainer{}, fault.New(fault.NotFound, "this app has no trainer %q", clip(name))
}

// trainersObject is what clients are told about the trainers.
func (a *App) trainersObject() *ordered.Map {
	out := &ordered.Map{}
	for _, t := range a.training.trainers() {
		o := ordered.Of("description", t.description, "config", trainingForm(t.devices))
		if m, ok := a.engine.Model(t.model); ok {
			o.Set("labels", LabelNames(m.Labels))
		}
		out.Set(t.name, o)
	}
	return out
}

// modelFS returns the folder of a model, of its version in service where the
// engine knows several.
func (a *App) modelFS(name string) (fs.FS, error) {
	if e, ok := a.engine.(interface {
		Folder(name string) (fs.FS, string, bool)
	}); ok {
		if fsys, _, found := e.Folder(name); found {
			return fsys, nil
		}
	}
	i := slices.IndexFunc(a.refs, func(m ModelRef) bool { return m.Name == name })
	if i < 0 {
		return nil, fault.New(fault.NotFound, "there is no model %q", clip(name))
	}
	fsys, err := fs.Sub(a.fsys, strings.TrimSuffix(a.refs[i].Path, "/"))
	return fsys, fault.Wrap(fault.NotFound, err, "the folder of model %s cannot be opened", name)
}
