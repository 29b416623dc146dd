package native

import (
	"context"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
)

// Several steps in one call: an ONNX Loop whose body is the step graph. What
// changes from step to step is stacked along a new first axis; the state is
// carried from one to the next where the device has it, so that on a graphics
// card it crosses the bus once per call. A step whose loss or gradient is not
// finite leaves the state alone and ends the loop.

// Names of the inputs and outputs of a call of several steps.
const (
	inSteps   = "voxloop.steps"  // how many of the stacked steps are made, at most
	outLosses = "voxloop.losses" // one number per step
	outNorms  = "voxloop.norms"
	outMade   = "voxloop.made" // steps that counted

	inBody = "voxloop.body." // in front of names that the body has for its own
)

func (o Options) checkRepeat() error {
	switch {
	case o.Repeat < 0:
		return fault.New(fault.Invalid, "the number of steps per call must not be negative: %d", o.Repeat)
	case o.Repeat > 1 && !o.Repeatable():
		return fault.New(fault.Invalid, "several steps per call go with single batches only: without accumulation, lanes, gradients that are kept and moving averages")
	}
	return nil
}

// Repeatable tells whether Options.Repeat may be above 1.
func (o Options) Repeatable() bool {
	return o.Accumulate < 2 && o.Lanes < 2 && !o.Gradients && !o.Average.on()
}

// repeated makes the graph of up to Options.Repeat steps.
func (b *builder) repeated(p *Program) *onnx.Model {
	names := p.graph.Graph.Names()
	r := &repeater{builder: b, p: p, k: int64(b.options.Repeat), outer: &section{names: names}, body: &section{names: names}}
	return r.model()
}

// repeater writes the Loop. Values of the outer graph and of the body have
// different names: a body sees the values around it.
type repeater struct {
	*builder
	p           *Program
	k           int64
	outer, body *section
}

// section collects nodes and constants of a graph.
type section struct {
	names *onnx.Names
	nodes []*onnx.Node
	inits []*onnx.Tensor
}

func (s *section) node(op string, inputs []string, attrs ...*onnx.Attr) string {
	out := s.names.New("voxloop.loop")
	s.nodes = append(s.nodes, &onnx.Node{Name: out, Op: op, Inputs: inputs, Outputs: []string{out}, Attrs: attrs})
	return out
}

func (s *section) op(op string, inputs ...string) string { return s.node(op, inputs) }

func (s *section) cast(name string, t onnx.DataType) string {
	return s.node("Cast", []string{name}, onnx.IntAttr("to", int64(t)))
}

// reshape views a value in another shape; none: as a single number.
func (s *section) reshape(name string, shape ...int64) string {
	to := s.names.New("voxloop.loop")
	s.inits = append(s.inits, onnx.NewInt64(to, []int64{int64(len(shape))}, shape))
	return s.op("Reshape", name, to)
}

func (s *section) floats(v ...float32) string {
	name := s.names.New("voxloop.loop")
	s.inits = append(s.inits, onnx.NewFloat32(name, []int64{int64(len(v))}, v))
	return name
}

func (r *repeater) model() *onnx.Model {
	m := onnx.NewModel(r.g.opset)
	m.IRVersion = r.p.graph.IRVersion
	loop := &onnx.Graph{Name: "step"}
	iter, cond := r.body.names.New("iter"), r.body.names.New("cond")
	loop.Inputs = append(loop.Inputs, onnx.NewValue(iter, onnx.Int64), onnx.NewValue(cond, onnx.Bool))

	own := map[string]string{} // names of the step graph that the body has for its own
	var states []*onnx.Value
	for _, v := range r.p.graph.Graph.Inputs {
		switch name, shape := v.Name, v.Shape(); {
		case name == inScale:
			m.AddInput(name, v.Type, shape...)
		case r.p.isState(name):
			m.AddInput(name, v.Type, shape...)
			own[name] = inBody + name
			states = append(states, v)
		default: // what each step has for itself
			m.AddInput(name, v.Type, append([]int64{r.k}, shape...)...)
			own[name] = inBody + name
			r.body.nodes = append(r.body.nodes, &onnx.Node{
				Name: own[name], Op: "Gather", Inputs: []string{name, iter}, Outputs: []string{own[name]}, Attrs: []*onnx.Attr{onnx.IntAttr("axis", 0)},
			})
		}
	}
	for _, v := range r.p.graph.Graph.Outputs {
		own[v.Name] = inBody + v.Name
	}
	step := r.p.graph.Clone().Graph
	for _, n := range step.Nodes {
		renameAll(n.Inputs, own)
		renameAll(n.Outputs, own)
	}
	r.body.nodes, r.body.inits = append(r.body.nodes, step.Nodes...), step.Initializers

	m.AddInput(inSteps, onnx.Float32, 1)
	loss, norm := r.body.reshape(own[outLoss], 1), r.body.reshape(own[outNorm], 1)
	sound := r.sound(loss, norm)
	loop.Outputs = append(loop.Outputs, onnx.NewValue(r.body.reshape(sound), onnx.Bool))
	inputs := []string{r.outer.cast(r.outer.reshape(inSteps), onnx.Int64), ""}
	var outputs []string
	carry := func(first, body, next, out string, shape ...int64) {
		inputs, outputs = append(inputs, first), append(outputs, out)
		loop.Inputs = append(loop.Inputs, onnx.NewValue(body, onnx.Float32, shape...))
		loop.Outputs = append(loop.Outputs, onnx.NewValue(next, onnx.Float32, shape...))
		m.AddOutput(out, onnx.Float32, shape...)
	}
	for _, v := range states {
		name := own[v.Name]
		carry(v.Name, name, r.body.op("Where", sound, own[v.Name+suffixNext], name), v.Name+suffixNext, v.Shape()...)
	}
	counting := make([]float32, r.k) // 0, 1, …, k-1
	for i := range counting {
		counting[i] = float32(i)
	}
	here := r.body.op("Equal", r.body.cast(iter, onnx.Float32), r.body.floats(counting...))
	for _, t := range []struct{ value, out string }{{loss, outLosses}, {norm, outNorms}} {
		before := inBody + t.out
		carry(r.outer.floats(make([]float32, r.k)...), before, r.body.op("Where", here, t.value, before), t.out, r.k)
	}
	before := inBody + outMade
	carry(r.outer.floats(0), before, r.body.op("Add", before, r.body.cast(sound, onnx.Float32)), outMade, 1)

	loop.Nodes, loop.Initializers = r.body.nodes, r.body.inits
	m.Graph.Initializers = r.outer.inits
	m.Graph.Nodes = append(r.outer.nodes, &onnx.Node{
		Name: "steps", Op: "Loop", Inputs: inputs, Outputs: outputs, Attrs: []*onnx.Attr{{Name: "body", Type: onnx.AttrGraph, Graph: loop}},
	})
	return m
}

func renameAll(list []string, to map[string]string) {
	for i, name := range list {
		if other, ok := to[name]; ok {
			list[i] = other
		}
	}
}

// sound is whether loss and norm are both finite, of shape [1]: x - x is 0 then.
func (r *repeater) sound(loss, norm string) string {
	rest := r.body.op("Add", r.body.op("Sub", loss, loss), r.body.op("Sub", norm, norm))
	return r.body.op("Equal", rest, r.body.floats(0))
}

// Most returns how many steps one call of RunSteps may make.
func (s *Step) Most() int { return s.program.options.Repeat }

// RunSteps makes up to Most steps, one after the other, with the paces given and
// as many batches in a row, each as Run takes it. It returns the losses before
// those steps that counted. An error is about the step after them, as Run
// returns it; that step and all further ones have changed nothing. The values
// are those of as many calls of Run, but that the scale of the loss grows between
// calls only.
func (s *Step) RunSteps(ctx context.Context, x, labels []float32, paces []Pace) ([]float64, error) {
	if n := len(paces); n < 1 || n > s.Most() {
		return nil, fault.New(fault.Invalid, "%d steps where one call makes 1 to %d", n, s.Most())
	}
	if s.program.repeat == nil {
		loss, err := s.RunAt(ctx, x, labels, paces[0])
		if err != nil {
			return nil, err
		}
		return []float64{loss}, nil
	}
	losses, _, err := s.runSteps(ctx, x, labels, paces)
	return losses, err
}

// runOne is RunAt where the graph makes several steps.
func (s *Step) runOne(ctx context.Context, x, labels []float32, pace Pace) (float64, error) {
	losses, lost, err := s.runSteps(ctx, x, labels, []Pace{pace})
	if err != nil {
		return lost, err
	}
	return losses[0], nil
}

// runSteps also returns the loss of a step that did not count.
func (s *Step) runSteps(ctx context.Context, x, labels []float32, paces []Pace) (losses []float64, lost float64, err error) {
	for _, pace := range paces {
		if err := checkPace(s.program.options.Optimizer, pace); err != nil {
			return nil, 0, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n, l := len(paces), s.lanes[0]
	image, classes := l.fixed[s.program.image], l.fixed[inLabels]
	if len(x)*s.Most() != n*len(image) || len(labels)*s.Most() != n*len(classes) {
		return nil, 0, fault.New(fault.Invalid, "%d voxels and %d labels where %d steps take %d and %d",
			len(x), len(labels), n, n*len(image)/s.Most(), n*len(classes)/s.Most())
	}
	factors := s.fixed[inFactors]
	for i, pace := range paces {
		copy(factors[i*len(factors)/s.Most():], s.program.options.Optimizer.factors(s.done+1+i, pace))
		l.masks.fillAt(i, s.done+i)
	}
	if v := s.fixed[inScale]; v != nil {
		v[0] = s.scaler.scale
	}
	s.fixed[inSteps][0] = float32(n)
	copy(image, x)
	copy(classes, labels)
	if err := l.runs[s.now].Run(ctx); err != nil {
		return nil, 0, err
	}
	return s.taken(n)
}

// taken takes over what a call has done and judges the step that ended it early.
func (s *Step) taken(n int) (losses []float64, lost float64, err error) {
	made := int(s.fixed[outMade][0])
	for i := range min(made+1, n) {
		loss := float64(s.fixed[outLosses][i])
		s.norm = float64(s.fixed[outNorms][i])
		if err = s.judge(loss); err != nil {
			lost = loss
			break
		}
		losses = append(losses, loss)
	}
	if len(losses) != made {
		return nil, 0, fault.New(fault.Internal, "%d of %d steps counted in the graph, %d by their losses", made, n, len(losses))
	}
	if made > 0 {
		s.now = 1 - s.now
		s.done += made
	}
	return losses, lost, err
}

// stacked is the number of bytes that the further batches of a call take.
func (p *Program) stacked() int64 {
	var n int64
	for _, v := range p.graph.Graph.Inputs {
		if !p.isState(v.Name) && v.Name != inScale {
			n += size(v.Shape()) * int64(v.Type.Size())
		}
	}
	return n * int64(p.options.Repeat-1)
}

// fillAt makes the masks of a pass in place i of a stack.
func (m *masks) fillAt(i, pass int) {
	one := map[string][]uint8{}
	for _, l := range m.layers {
		n := int(l.Len())
		one[l.Input] = m.bound[l.Input][i*n : (i+1)*n]
	}
	m.fill(one, pass)
}
