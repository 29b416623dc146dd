package native

import (
	"slices"

	"github.com/voxloop/voxloop/internal/onnx"
)

// builder assembles the step graph around the compiled forward pass.
type builder struct {
	*network
	options Options
	g       *graph
	image   string
}

func (b *builder) build() *Program {
	g, p := b.g, &Program{options: b.options, source: b.network, image: b.image, places: map[string]int{}}
	loss := b.loss(p)
	if g.err != nil {
		return nil
	}
	m := onnx.NewModel(g.opset)
	m.AddInput(b.image, onnx.Float32, b.options.Shape...)
	m.AddInput(inLabels, onnx.Float32, p.labels...)
	p.masks = g.masks
	for _, l := range g.masks {
		m.AddInput(l.Input, onnx.Uint8, l.Shape...)
	}
	forward := len(g.nodes)
	g.backward(loss, b.seed(m))
	grads := b.collect(p)
	if g.err != nil {
		return nil
	}
	b.output(m, outLoss, loss)
	if b.options.Accumulate > 1 {
		for i, t := range p.parameters {
			m.AddInput(t.Name, onnx.Float32, t.Shape...)
			b.output(m, partName(i), grads[i])
		}
		p.apply = b.optimizer(p)
	} else {
		m.AddInput(vecWeights, onnx.Float32, total(p.parameters))
		b.cut(vecWeights, p.parameters)
		b.update(m, p, g.concat(0, grads...))
	}
	b.follow(m, p)
	if b.options.Gradients {
		for i, v := range b.model.Graph.Outputs {
			b.output(m, headName(i), g.value(v.Name))
		}
	}
	batch := []string{b.image, inLabels}
	for _, l := range g.masks {
		batch = append(batch, l.Input)
	}
	g.recompute(forward, b.options.Segments, batch)
	if p.graph = b.finish(m); p.graph != nil {
		if p.apply != nil {
			p.graph = b.detach(p, p.graph, b.options.Lanes)
		}
		p.memory = b.footprint(p)*int64(b.options.Lanes) + p.stacked()
		if b.options.Repeat > 1 {
			p.repeat = b.repeated(p)
		}
	}
	return p
}

// seed is what the loss is multiplied by before its gradients are taken.
func (b *builder) seed(m *onnx.Model) string {
	g, share := b.g, 1/float64(b.options.Accumulate)
	if !b.options.Scaling.on() {
		return g.reshape(g.scalar(share), 1)
	}
	b.scaleInput(m)
	return g.scale(inScale, share)
}

func (b *builder) scaleInput(m *onnx.Model) {
	b.g.info[inScale] = floats([]int64{1})
	m.AddInput(inScale, onnx.Float32, 1)
}

// optimizer is a graph of its own that makes a step from the gradient of
// several batches.
func (b *builder) optimizer(p *Program) *onnx.Model {
	o := &builder{network: b.network, options: b.options, g: newGraph(b.g.opset, (&onnx.Graph{}).Names())}
	m, n := onnx.NewModel(o.g.opset), total(p.parameters)
	o.g.info[inTotal], o.g.info[vecWeights] = floats([]int64{n}), floats([]int64{n})
	m.AddInput(inTotal, onnx.Float32, n)
	m.AddInput(vecWeights, onnx.Float32, n)
	if o.options.Scaling.on() {
		o.scaleInput(m)
	}
	o.update(m, p, inTotal)
	done := o.finish(m)
	if o.g.err != nil && b.g.err == nil {
		b.g.err = o.g.err
	}
	return done
}

// finish puts the nodes into a model that has its inputs and outputs.
func (b *builder) finish(m *onnx.Model) *onnx.Model {
	g := b.g
	if g.err != nil {
		return nil
	}
	m.Graph.Nodes = append(m.Graph.Nodes, g.nodes...)
	m.Graph.Initializers = g.inits
	if err := m.Graph.Sort(); err != nil {
		g.fail("%v", err)
	}
	m.IRVersion = max(m.IRVersion, b.model.IRVersion)
	if b.options.Half {
		m.Graph.Nodes = b.halved(m.Graph.Nodes)
	}
	direct(m.Graph)
	return pruned(m)
}

// direct lets nodes write outputs of the graph themselves instead of by way of an
// Identity, which copies.
func direct(g *onnx.Graph) {
	taken, made := map[string]bool{}, map[string]bool{}
	for _, v := range g.Outputs {
		taken[v.Name] = true
	}
	for _, n := range g.Nodes {
		for _, name := range n.Outputs {
			made[name] = true
		}
	}
	names := map[string]string{}
	g.Nodes = slices.DeleteFunc(g.Nodes, func(n *onnx.Node) bool {
		from := n.Input(0)
		if !n.Is("Identity") || !taken[n.Outputs[0]] || !made[from] || taken[from] {
			return false
		}
		names[from], taken[from] = n.Outputs[0], true
		return true
	})
	rename := func(list []string) {
		for i, name := range list {
			if to, ok := names[name]; ok {
				list[i] = to
			}
		}
	}
	for _, n := range g.Nodes {
		rename(n.Inputs)
		rename(n.Outputs)
	}
}

// output declares a value as output of the step graph under a name of ours.
func (b *builder) output(m *onnx.Model, name, value string) {
	b.g.place(value)
	b.g.info[name] = b.g.info[value]
	m.AddNode("Identity", []string{value}, []string{name})
	m.AddOutput(name, onnx.Float32, b.g.shape(value)...)
}

// loss compares every output with the labels.
func (b *builder) loss(p *Program) string {
	g, o := b.g, b.options
	outs := b.model.Graph.Outputs
	weights := o.HeadWeights
	if weights == nil {
		weights = HalvedHeads(len(outs))
	}
	if g.err == nil && (len(weights) != len(outs) || len(outs) == 0) {
		g.fail("it has %d outputs and there are %d weights for them", len(outs), len(weights))
	}
	if g.err == nil && !usable(weights) {
		g.fail("the weights of its outputs must be numbers >= 0 and not all 0: %v", weights)
	}
	p.labels = slices.Concat([]int64{o.Shape[0], 1}, o.Shape[2:])
	g.info[inLabels] = floats(p.labels)
	var heads []string
	for _, v := range outs {
		logits := g.value(v.Name)
		shape := g.shape(logits)
		if g.err == nil && (len(shape) != len(p.labels) || shape[0] != p.labels[0]) {
			g.fail("its output %q has shape %v, which labels of shape %v do not fit", v.Name, shape, p.labels)
		}
		if g.err != nil {
			return ""
		}
		p.heads, heads = append(p.heads, shape), append(heads, logits)
		if err := o.Loss.check(int(shape[1])); err != nil {
			g.err = err
		}
	}
	return g.supervised(o.Loss, o.IgnoreLabel, inLabels, heads, weights)
}

// collect returns the gradients of the parameters that have one, each as a
// vector, and notes these parameters. The others become constants.
func (b *builder) collect(p *Program) (grads []string) {
	g := b.g
	for _, t := range b.network.parameters {
		d := g.gradient(t.Name)
		if d == "" {
			g.setTensor(t.Name, t)
			if b.reads(t.Name) {
				g.place(t.Name)
			}
			continue
		}
		p.places[t.Name] = len(p.parameters)
		p.parameters = append(p.parameters, Parameter{Name: t.Name, Shape: t.Dims, offset: total(p.parameters)})
		grads = append(grads, g.reshape(d, size(t.Dims)))
	}
	if len(grads) == 0 && g.err == nil {
		g.fail("none of its parameters has a gradient")
	}
	return grads
}

func (b *builder) reads(name string) bool {
	return slices.ContainsFunc(b.g.nodes, func(n *onnx.Node) bool { return slices.Contains(n.Inputs, name) })
}

// total is the length of the vector that holds the tensors.
func total(list []Parameter) int64 {
	var n int64
	for _, p := range list {
		n += p.Len()
	}
	return n
}

// cut makes each tensor from its part of a vector.
func (b *builder) cut(vector string, list []Parameter) {
	g := b.g
	g.info[vector] = floats([]int64{total(list)})
	var lengths []int64
	for _, p := range list {
		lengths = append(lengths, p.Len())
	}
	for i, part := range g.split(vector, lengths) {
		shape := g.ints(list[i].Shape...)
		g.place(shape)
		g.nodes = append(g.nodes, &onnx.Node{Name: list[i].Name, Op: "Reshape", Inputs: []string{part, shape}, Outputs: []string{list[i].Name}})
	}
}

// update appends the optimizer. The gradient is that of the loss times the
// scale.
func (b *builder) update(m *onnx.Model, p *Program, grad string) {
	g, o := b.g, b.options
	n := total(p.parameters)
	used := len(o.Optimizer.factors(1, Pace{Rate: 1}))
	g.info[inFactors] = floats([]int64{int64(used)})
	m.AddInput(inFactors, onnx.Float32, int64(used))
	factors := g.split(inFactors, slices.Repeat([]int64{1}, used))
	var moments []string
	for i := range o.Optimizer.moments() {
		name := momentName(i)
		g.info[name] = floats([]int64{n})
		m.AddInput(name, onnx.Float32, n)
		moments = append(moments, name)
	}
	if o.Scaling.on() {
		grad = g.div(grad, inScale)
	}
	norm := g.norm(L2, grad)
	b.output(m, outNorm, norm)
	if o.Gradients {
		b.output(m, outGrad, grad)
	}
	grad = o.clip(g, grad, norm)
	after, kept := o.Optimizer.update(g, vecWeights, grad, moments, factors)
	b.output(m, vecWeights+suffixNext, after)
	for i, v := range kept {
		b.output(m, momentName(i)+suffixNext, v)
	}
}

// follow appends the running statistics.
func (b *builder) follow(m *onnx.Model, p *Program) {
	g := b.g
	if !g.batchStatistics || len(b.network.statistics) == 0 {
		return
	}
	var after []string
	for _, t := range b.network.statistics {
		p.statistics = append(p.statistics, Parameter{Name: t.Name, Shape: t.Dims, offset: total(p.statistics)})
		value := t.Name
		for _, s := range g.stats {
			if s.name == t.Name {
				value = s.value
			}
		}
		after = append(after, value)
	}
	b.cut(vecStats, p.statistics)
	m.AddInput(vecStats, onnx.Float32, total(p.statistics))
	b.output(m, vecStats+suffixNext, g.concat(0, after...))
}

// pruned drops nodes that no output depends on, inputs that nothing reads keep
// their place.
func pruned(m *onnx.Model) *onnx.Model {
	needed := map[string]bool{}
	for _, v := range m.Graph.Outputs {
		needed[v.Name] = true
	}
	var kept []*onnx.Node
	for _, n := range slices.Backward(m.Graph.Nodes) {
		if !slices.ContainsFunc(n.Outputs, func(s string) bool { return needed[s] }) {
			continue
		}
		for _, s := range n.Inputs {
			needed[s] = true
		}
		kept = append(kept, n)
	}
	slices.Reverse(kept)
	m.Graph.Nodes = kept
	m.Graph.Initializers = slices.DeleteFunc(m.Graph.Initializers, func(t *onnx.Tensor) bool { return !needed[t.Name] })
	return m
}
