package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/simulate"
	"github.com/voxloop/voxloop/strategies"
	"github.com/voxloop/voxloop/trainers"
)

// simulationEngine plays a simulation with the trainer, the pipeline and the
// uncertainty of the server.
type simulationEngine struct {
	base    string // folder of the model to begin from
	cases   map[string]trainers.Case
	config  trainers.Config
	trainer trainers.Trainer
	runtime func(context.Context) (*ort.Runtime, error)
	device  string // of the looks
	library string
	threads int
	passes  int // of Monte-Carlo dropout
	observe strategies.ObserveOptions
	log     *slog.Logger
	event   func(trainers.Event)
}

var _ simulate.Engine = (*simulationEngine)(nil)

// Train implements simulate.Engine.
func (e *simulationEngine) Train(ctx context.Context, t simulate.Training) (simulate.Trained, error) {
	c := e.config
	c.Seed = uint64(t.Seed) //nolint:gosec // not negative
	c.Minutes, c.Epochs, c.Steps = t.Minutes, 0, t.Steps
	if t.Steps > 0 {
		c.Minutes = 0
	}
	if t.Scratch {
		c.From = trainers.FromScratch
	}
	// The model after the last step is judged: nothing is kept back for choosing.
	c.Keep, c.ValSplit, c.Folds = trainers.KeepLast, -1, 0
	from := t.From
	if from == "" {
		from = e.base
	}
	r := trainers.Request{
		Protocol: trainers.ProtocolVersion, Model: from, Out: t.Out, Work: t.Work, Config: c,
		Device: ort.CPU, Threads: e.threads, Library: e.library,
	}
	for _, id := range t.IDs {
		one := e.cases[id]
		one.Role = trainers.Train
		r.Cases = append(r.Cases, one)
	}
	for _, dir := range []*string{&r.Model, &r.Out, &r.Work} {
		var err error
		if *dir, err = filepath.Abs(*dir); err != nil {
			return simulate.Trained{}, err
		}
	}
	res, err := e.trainer.Train(ctx, r, e.event)
	if err != nil {
		return simulate.Trained{}, err
	}
	p, err := infer.OpenPipeline(os.DirFS(r.Out), infer.PipelineOptions{})
	if err != nil {
		return simulate.Trained{}, err
	}
	return simulate.Trained{Version: p.Version(), Steps: res.Steps}, nil
}

// Test implements simulate.Engine.
func (e *simulationEngine) Test(ctx context.Context, model string, ids []string) (out []simulate.Score, err error) {
	data, err := apps.OpenTrainingData(ctx, os.DirFS(model), apps.TrainingDataOptions{Runtime: e.runtime, Threads: e.threads})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	err = data.Score(ctx, data.Spec().Network, e.of(ids), func(s trainers.Score) {
		out = append(out, simulate.Score{ID: s.ID, Dice: s.Dice})
	})
	return out, err
}

func (e *simulationEngine) of(ids []string) []trainers.Case {
	out := make([]trainers.Case, 0, len(ids))
	for _, id := range ids {
		out = append(out, e.cases[id])
	}
	return out
}

// Look implements simulate.Engine.
func (e *simulationEngine) Look(ctx context.Context, l simulate.Looking, put func(*strategies.Observation) error) (err error) {
	s := infer.Sampling{Seed: l.Seed, Features: l.Features}
	switch l.Passes {
	case strategies.Augmented:
		s.Flips = []string{infer.AllMirrorings}
	case strategies.Dropout:
		s.Dropout = e.passes
	case strategies.EnsemblePass:
		s.Members = true
	case strategies.SinglePass:
	}
	r := infer.NewRegistry(infer.RegistryOptions{Runtime: e.runtime, Device: e.device, Threads: e.threads, Logger: e.log})
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := r.Add(l.Name, l.Model); err != nil {
		return err
	}
	if err := r.Wait(ctx, l.Name); err != nil {
		return err
	}
	for _, c := range e.of(l.IDs) {
		ob, err := e.look(ctx, r, l, c, s)
		if err != nil {
			return err
		}
		if err := put(ob); err != nil {
			return err
		}
	}
	return nil
}

// look measures one image.
func (e *simulationEngine) look(ctx context.Context, r *infer.Registry, l simulate.Looking, c trainers.Case, s infer.Sampling) (*strategies.Observation, error) {
	begin := time.Now()
	var in infer.Input
	for _, name := range c.Images {
		v, err := codec.Read(ctx, name, codec.Limits{})
		if err != nil {
			return nil, err
		}
		in.Volumes = append(in.Volumes, v)
	}
	m, err := r.Measure(ctx, l.Name, in, infer.Options{}, s)
	if err != nil {
		return nil, err
	}
	v := in.Volumes[0]
	voxels := make([]float32, v.Voxels())
	v.Float32s(voxels, 0, 0)
	look, corrupt := strategies.Fingerprint(voxels, v.Size, v.Affine.Spacing())
	return strategies.Observe(ctx, strategies.Look{
		Image: c.ID, Model: l.Name, Version: l.Version, Passes: l.Passes, Maps: m.Maps, Size: m.Size, Voxel: m.Voxel,
		ToImage: m.ToImage, World: v.Affine, Features: m.Features, Fingerprint: look, Corrupt: corrupt, Took: time.Since(begin),
	}, e.observe)
}

// ready looks once at one image with the model to begin from, for every
// strategy: one that cannot work with it is told before anything is trained.
func (e *simulationEngine) ready(ctx context.Context, names []string, id string) error {
	tried := map[strategies.Passes]bool{}
	for _, name := range names {
		spec, err := simulate.SpecOf(name, 1)
		if err != nil {
			return err
		}
		if name == simulate.Random {
			continue
		}
		passes := simulate.PassesOf(spec)
		if tried[passes] {
			continue
		}
		tried[passes] = true
		err = e.Look(ctx, simulate.Looking{Model: e.base, Name: "model", Version: "base", IDs: []string{id}, Passes: passes, Features: true},
			func(*strategies.Observation) error { return nil })
		if err != nil {
			return fmt.Errorf("strategy %s: %w", name, err)
		}
	}
	return nil
}
