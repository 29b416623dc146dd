package native

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort"
)

func momentName(i int) string { return fmt.Sprint(vecMoment, i) }
func headName(i int) string   { return fmt.Sprint(outLogits, i) }

// Graph returns the step graph: for looking at it, and for running it
// elsewhere.
func (p *Program) Graph() *onnx.Model { return p.graph.Clone() }

// Parameters returns what is trained, in the order of the vectors.
func (p *Program) Parameters() []Parameter { return slices.Clone(p.parameters) }

// Statistics returns the running statistics that follow the batches.
func (p *Program) Statistics() []Parameter { return slices.Clone(p.statistics) }

// ErrNotFinite is returned by Step.Run when the loss or a gradient is not a
// number or infinite. The step has changed nothing.
var ErrNotFinite = fault.New(fault.Invalid, "the loss or its gradient is not a finite number: the step was skipped")

// vectors is the state that one step reads and the next one finds.
type vectors map[string][]float32

// Step is a program in work: it owns the network's values. Its methods may be
// called from many goroutines; steps take turns.
type Step struct {
	program *Program
	lanes   []*lane
	prepare []*piece     // what is made of the weights before the parts of a step
	finish  []*piece     // what is made of their gradients after them
	apply   *ort.Session // the optimizer apart, or nil
	sums    gradients    // of the parts of a step

	mu      sync.Mutex
	done    int                  // successful steps
	fixed   map[string][]float32 // factors, norm, gradient, …: what all graphs share
	state   [2]vectors           // state[now] holds the present values
	applies [2]*ort.Bound        // of the optimizer apart: applies[i] reads state[i] and writes the other
	now     int
	norm    float64 // of the last step's gradient
	average vectors // of the parameters and statistics; empty when none is kept
	scaler  scaler
}

// Open is OpenOn the CPU provider.
func (p *Program) Open(rt *ort.Runtime, threads int) (*Step, error) {
	return p.OpenOn(rt, ort.CPU, threads)
}

// OpenOn readies the program on a device (ort.CPU, ort.CUDA) with the network's
// own values; 0 threads means all cores. Close frees it. Bits are promised to be
// equal on the CPU only. A device that does not load is a fault of kind
// Unavailable.
func (p *Program) OpenOn(rt *ort.Runtime, device string, threads int) (*Step, error) {
	if threads == 0 {
		threads = ort.Cores()
	}
	s := &Step{program: p, fixed: map[string][]float32{}, state: [2]vectors{{}, {}}}
	err := s.open(rt, device, threads)
	if err == nil {
		err = s.reset()
	}
	if err != nil {
		_ = s.Close() // the first error counts
		return nil, err
	}
	return s, nil
}

// open makes the sessions, and the buffers that are tied to them in both
// directions.
func (s *Step) open(rt *ort.Runtime, device string, threads int) (err error) {
	p := s.program
	lanes := p.options.Lanes
	if p.apply != nil {
		s.makeShared()
	}
	options := ort.SessionOptions{Device: device, Threads: max(threads/lanes, 1), ByteInputs: true, NoArena: p.memory > arenaPays}
	for range lanes {
		l := s.newLane()
		graph := p.graph
		if p.repeat != nil {
			graph = p.repeat
		}
		if l.session, err = rt.NewSession(graph.Bytes(), options); err != nil {
			return err
		}
		s.lanes = append(s.lanes, l)
		if l.runs, err = s.bind(l.session, l); err != nil {
			return err
		}
	}
	if p.apply == nil {
		return nil
	}
	if s.prepare, err = s.openPieces(rt, options, p.apart.prepare, nil); err != nil {
		return err
	}
	if s.finish, err = s.openPieces(rt, options, p.apart.finish, s.finishBuffers()); err != nil {
		return err
	}
	options.Threads = threads
	if s.apply, err = rt.NewSession(p.apply.Bytes(), options); err != nil {
		return err
	}
	s.applies, err = s.bind(s.apply, &lane{masks: &masks{}})
	return err
}

// bind makes what buffers are still missing and ties them to the session of a
// lane.
func (s *Step) bind(session *ort.Session, l *lane) (runs [2]*ort.Bound, err error) {
	in, out := session.Inputs(), session.Outputs()
	for _, t := range slices.Concat(in, out) {
		name, next := cutSuffix(t.Name)
		switch n := size(t.Shape); {
		case l.masks.bound[t.Name] != nil:
		case s.program.isState(name):
			if s.state[0][name] == nil {
				s.state[0][name], s.state[1][name] = make([]float32, n), make([]float32, n)
			}
		case l.fixed[t.Name] != nil || s.program.parameter(t.Name) != nil:
		case s.program.ofLane(t.Name):
			l.fixed[t.Name] = make([]float32, n)
		case !next && s.fixed[t.Name] == nil:
			s.fixed[t.Name] = make([]float32, n)
		}
	}
	for i := range runs {
		if runs[i], err = session.Bind(s.tensors(in, l, s.state[i]), s.tensors(out, l, s.state[1-i])); err != nil {
			return runs, err
		}
	}
	return runs, nil
}

func cutSuffix(name string) (string, bool) {
	if n := len(name) - len(suffixNext); n > 0 && name[n:] == suffixNext {
		return name[:n], true
	}
	return name, false
}

func (p *Program) isState(name string) bool {
	if name == vecWeights || name == vecStats {
		return true
	}
	for i := range p.options.Optimizer.moments() {
		if name == momentName(i) {
			return true
		}
	}
	return false
}

func (s *Step) tensors(infos []ort.TensorInfo, l *lane, state vectors) []ort.Tensor {
	var out []ort.Tensor
	for _, t := range infos {
		name, _ := cutSuffix(t.Name)
		data, ok := state[name]
		if w := s.program.parameter(t.Name); w != nil {
			data, ok = w.span().of(state[vecWeights]), true
		}
		if !ok {
			if data, ok = l.fixed[t.Name]; !ok {
				data = s.fixed[t.Name]
			}
		}
		out = append(out, ort.Tensor{Shape: t.Shape, Data: data, Bytes: l.masks.bound[t.Name]})
	}
	return out
}

// reset puts the network's own values into the state.
func (s *Step) reset() error {
	for vector, list := range s.program.vectors() {
		for _, p := range list {
			v, err := s.program.source.model.Graph.Initializer(p.Name).Float32()
			if err != nil {
				return err
			}
			copy(s.state[s.now][vector][p.offset:], v)
		}
	}
	if s.program.options.Average.on() {
		s.average = vectors{}
		for vector := range s.program.vectors() {
			s.average[vector] = slices.Clone(s.state[s.now][vector])
		}
	}
	s.scaler.scale = float32(s.program.options.Scaling.Initial)
	return nil
}

// vectors maps the vectors that hold values of the network to their tensors.
func (p *Program) vectors() map[string][]Parameter {
	out := map[string][]Parameter{vecWeights: p.parameters}
	if len(p.statistics) > 0 {
		out[vecStats] = p.statistics
	}
	return out
}

// Run makes one step with the given learning rate and returns the loss before
// it. x has Options.Shape; labels are class indices [N, 1, spatial…]. With
// Options.Accumulate both hold so many batches one after the other, and the
// loss is their mean. When the loss or the gradient is not finite
// (ErrNotFinite, ErrOverflow), or ctx ends first, nothing has changed.
func (s *Step) Run(ctx context.Context, x, labels []float32, rate float64) (float64, error) {
	return s.RunAt(ctx, x, labels, Pace{Rate: rate})
}

// RunAt is Run with more than a rate.
func (s *Step) RunAt(ctx context.Context, x, labels []float32, pace Pace) (float64, error) {
	if s.program.repeat != nil {
		return s.runOne(ctx, x, labels, pace)
	}
	if err := checkPace(s.program.options.Optimizer, pace); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkBatch(x, labels); err != nil {
		return 0, err
	}
	copy(s.fixed[inFactors], s.program.options.Optimizer.factors(s.done+1, pace))
	if v := s.fixed[inScale]; v != nil {
		v[0] = s.scaler.scale
	}
	loss, err := s.compute(ctx, x, labels)
	if err != nil {
		return 0, err
	}
	s.norm = float64(s.fixed[outNorm][0])
	if err := s.judge(loss); err != nil {
		return loss, err
	}
	s.now = 1 - s.now
	s.done++
	for vector, average := range s.average {
		s.program.options.Average.follow(average, s.state[s.now][vector], s.done)
	}
	return loss, nil
}

func (s *Step) checkBatch(x, labels []float32) error {
	n, part := s.program.options.Accumulate, s.lanes[0].fixed
	if in, l := n*len(part[s.program.image]), n*len(part[inLabels]); len(x) != in || len(labels) != l {
		return fault.New(fault.Invalid, "a batch of %d voxels and %d labels where the step takes %d and %d", len(x), len(labels), in, l)
	}
	return nil
}

// compute writes the next state and returns the loss.
func (s *Step) compute(ctx context.Context, x, labels []float32) (float64, error) {
	if s.apply != nil {
		return s.accumulate(ctx, x, labels)
	}
	err := s.run(ctx, s.lanes[0], 0, x, labels)
	return float64(s.lanes[0].fixed[outLoss][0]), err
}

// judge tells whether the step may count, and keeps the scale of the loss.
func (s *Step) judge(loss float64) error {
	scaling := s.program.options.Scaling
	whole := finite(loss)
	sound := whole && finite(s.norm)
	if scaling.on() && whole {
		if s.scaler.update(scaling, sound); !sound {
			return ErrOverflow
		}
	}
	if !sound {
		return ErrNotFinite
	}
	return nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// Done returns the number of steps made, those of a loaded state included.
func (s *Step) Done() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done
}

// Values returns a copy of the present values of a parameter or statistic.
func (s *Step) Values(name string) ([]float32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for vector, list := range s.program.vectors() {
		for _, p := range list {
			if p.Name == name {
				return slices.Clone(s.state[s.now][vector][p.offset : p.offset+p.Len()]), nil
			}
		}
	}
	return nil, fault.New(fault.NotFound, "the network has no trained parameter %q", name)
}

// Gradient returns a copy of a parameter's gradient in the last step, before
// clipping. It needs Options.Gradients.
func (s *Step) Gradient(name string) ([]float32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.program.parameters {
		if g := s.fixed[outGrad]; p.Name == name && g != nil {
			return slices.Clone(g[p.offset : p.offset+p.Len()]), nil
		}
	}
	return nil, fault.New(fault.NotFound, "there is no gradient of %q", name)
}

// GradientNorm returns the L2 norm of the whole gradient in the last step,
// before clipping.
func (s *Step) GradientNorm() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.norm
}

// Logits returns a copy of output i in the last step, before its update, and
// its shape. It needs Options.Gradients.
func (s *Step) Logits(i int) ([]float32, []int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.fixed[headName(i)]
	if v == nil {
		return nil, nil, fault.New(fault.NotFound, "the logits of output %d are not kept", i)
	}
	return slices.Clone(v), slices.Clone(s.program.heads[i]), nil
}

// Close frees the sessions, waiting for a step in progress.
func (s *Step) Close() error {
	var errs []error
	for _, l := range s.lanes {
		errs = append(errs, l.session.Close())
	}
	for _, p := range slices.Concat(s.prepare, s.finish) {
		errs = append(errs, p.session.Close())
	}
	if s.apply != nil {
		errs = append(errs, s.apply.Close())
	}
	return errors.Join(errs...)
}
