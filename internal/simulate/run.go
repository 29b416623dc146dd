package simulate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/strategies"
)

// Engine trains, judges and looks at images. Its methods are called one at a
// time.
type Engine interface {
	// Train makes a model. Called again after a stop, it goes on.
	Train(ctx context.Context, t Training) (Trained, error)
	// Test judges a model folder.
	Test(ctx context.Context, model string, ids []string) ([]Score, error)
	// Look observes images with a model.
	Look(ctx context.Context, l Looking, put func(*strategies.Observation) error) error
}

// Training asks for a model.
type Training struct {
	From    string // folder of a model; "": the one that the simulation begins from
	Scratch bool   // its weights are forgotten
	Out     string // folder to be made
	Work    string // folder for checkpoints
	IDs     []string
	Seed    int
	Steps   int // 0: as many as Minutes are worth
	Minutes float64
}

// Trained is a finished training.
type Trained struct {
	Version string
	Steps   int
}

// Looking asks for observations.
type Looking struct {
	Model         string // folder
	Name, Version string // for the observations
	IDs           []string
	Passes        strategies.Passes
	Features      bool
	Seed          uint64
}

// Progress is told after every round.
type Progress struct {
	Done, All int // trainings
	Round     Round
}

// Files of a simulation.
const (
	planFile   = "plan.json"
	resultFile = "result.json"
	modelDir   = "model"
	workDir    = "work"
)

// runner is a simulation under way.
type runner struct {
	o      Options
	dir    string
	engine Engine
	tell   func(Progress)
	rounds []Round
}

// Run plays a simulation in a folder, or goes on with the one that is there. It
// returns the finished rounds, also when it is stopped.
func Run(ctx context.Context, o Options, dir string, e Engine, tell func(Progress)) (Options, []Round, error) {
	if err := o.check(); err != nil {
		return o, nil, err
	}
	r := &runner{o: o, dir: dir, engine: e, tell: tell}
	err := r.plan()
	for seed := 1; err == nil && seed <= o.Seeds; seed++ {
		err = r.seed(ctx, seed)
	}
	return r.o, r.rounds, err
}

// plan writes down what decides the simulation, or compares it with what is
// there.
func (r *runner) plan() error {
	path := filepath.Join(r.dir, planFile)
	data, err := os.ReadFile(path) //nolint:gosec // the folder that the user names
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(r.dir, 0o750); err != nil {
			return fault.Wrap(fault.KindOf(err), err, "the folder %s cannot be made", r.dir)
		}
		return writeJSON(path, r.o)
	}
	if err != nil {
		return fault.Wrap(fault.KindOf(err), err, "%s cannot be read", path)
	}
	var have Options
	if err := json.Unmarshal(data, &have); err != nil {
		return fault.Wrap(fault.Invalid, err, "%s is damaged; remove it to begin anew", path)
	}
	var want Options
	if data, err = json.Marshal(r.o); err == nil {
		err = json.Unmarshal(data, &want)
	}
	if err != nil {
		return fault.Wrap(fault.Internal, err, "the options cannot be written down")
	}
	steps := have.Steps
	if want.Steps == 0 && want.Minutes == have.Minutes {
		have.Steps = 0 // they came from the minutes
	}
	have.Code, have.Seeds = want.Code, want.Seeds // more seeds may be added
	if !reflect.DeepEqual(have, want) {
		return fault.New(fault.Conflict, "%s holds another simulation (other images, strategies, numbers or model); name another folder, or remove it", r.dir)
	}
	r.o.Steps = steps
	return writeJSON(path, r.o)
}

func (r *runner) seed(ctx context.Context, seed int) error {
	start := slices.Sorted(slices.Values(randomOrder(r.o.PoolIDs, seed, "start")[:r.o.Start]))
	dir := filepath.Join(r.dir, fmt.Sprintf("seed%d", seed))
	zero, err := r.round(ctx, filepath.Join(dir, "start"), Round{Seed: seed}, "", start)
	if err != nil {
		return err
	}
	for _, name := range r.o.Strategies {
		labelled, before := start, filepath.Join(dir, "start", modelDir)
		version := zero.Version
		for k := 1; k <= r.o.Rounds; k++ {
			at := filepath.Join(dir, name, fmt.Sprintf("round%d", k))
			done, err := r.round(ctx, at, Round{Strategy: name, Seed: seed, Round: k, Version: version}, before, labelled)
			if err != nil {
				return fault.Wrap(fault.KindOf(err), err, "%s, seed %d, round %d: %s", name, seed, k, text(err))
			}
			if k > 1 {
				_ = os.RemoveAll(before) // nobody needs it any more
			}
			for _, p := range done.Picks {
				labelled = append(slices.Clone(labelled), p.ID)
			}
			before, version = filepath.Join(at, modelDir), done.Version
		}
	}
	return nil
}

func text(err error) string {
	if m, ok := fault.Message(err); ok {
		return m
	}
	return err.Error()
}

// round plays a round or reads what an earlier run found. In round 0 the
// labelled images are the picks.
func (r *runner) round(ctx context.Context, dir string, w Round, before string, labelled []string) (Round, error) {
	var done Round
	data, err := os.ReadFile(filepath.Join(dir, resultFile)) //nolint:gosec // below the user's folder
	if err == nil {
		if err = json.Unmarshal(data, &done); err != nil {
			return done, fault.Wrap(fault.Invalid, err, "%s in %s is damaged; remove it to play the round again", resultFile, dir)
		}
		r.rounds = append(r.rounds, done)
		return done, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return done, fault.Wrap(fault.KindOf(err), err, "%s cannot be read", resultFile)
	}
	if done, err = r.play(ctx, dir, w, before, labelled); err != nil {
		return done, err
	}
	if err := writeJSON(filepath.Join(dir, resultFile), done); err != nil {
		return done, err
	}
	r.rounds = append(r.rounds, done)
	r.tell(Progress{Done: len(r.rounds), All: r.o.Trainings(), Round: done})
	return done, nil
}

func (r *runner) play(ctx context.Context, dir string, w Round, before string, labelled []string) (Round, error) {
	begin := time.Now()
	if w.Round == 0 {
		for _, id := range labelled {
			w.Picks = append(w.Picks, Pick{ID: id})
		}
	} else {
		var err error
		w.Picks, w.Scored, err = choice{r.o, w.Strategy, w.Seed, w.Round, labelled, before, w.Version}.make(ctx, r.engine)
		if err != nil {
			return w, err
		}
		for _, p := range w.Picks {
			labelled = append(slices.Clone(labelled), p.ID)
		}
	}
	w.ScoreSeconds = time.Since(begin).Seconds()
	w.Labelled = len(labelled)
	begin = time.Now()
	t := Training{
		From: before, Scratch: r.o.Scratch || w.Round == 0, Out: filepath.Join(dir, modelDir), Work: filepath.Join(dir, workDir),
		IDs: labelled, Seed: w.Seed<<8 + w.Round, Steps: r.o.Steps, Minutes: r.o.Minutes,
	}
	if t.Scratch {
		t.From = ""
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return w, fault.Wrap(fault.KindOf(err), err, "the folder %s cannot be made", dir)
	}
	made, err := r.engine.Train(ctx, t)
	if err != nil {
		return w, err
	}
	if r.o.Steps == 0 {
		r.o.Steps = made.Steps
		if err := writeJSON(filepath.Join(r.dir, planFile), r.o); err != nil {
			return w, err
		}
	}
	w.Version, w.TrainSeconds = made.Version, time.Since(begin).Seconds()
	begin = time.Now()
	if w.Test, err = r.engine.Test(ctx, t.Out, r.o.TestIDs); err != nil {
		return w, err
	}
	w.TestSeconds = time.Since(begin).Seconds()
	return w, nil
}

func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fault.Wrap(fault.Internal, err, "%s cannot be written", filepath.Base(path))
	}
	err = atomicfile.Write(path, 0o640, func(w io.Writer) error {
		_, err := w.Write(append(data, '\n'))
		return err
	})
	if err != nil {
		return fault.Wrap(fault.KindOf(err), err, "%s cannot be written", path)
	}
	return nil
}
