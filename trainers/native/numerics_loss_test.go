package native

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/testkit"
)

// lossSettings are the reference's parameters of a loss.
type lossSettings struct {
	Sigmoid, Softmax, Batch, Jaccard bool
	UseSoftmax                       bool    `json:"use_softmax"`
	Background                       *bool   `json:"include_background"`
	Squared                          bool    `json:"squared_pred"`
	Num                              float64 `json:"smooth_nr"`
	Den                              float64 `json:"smooth_dr"`
	Reduction                        string
	Weight                           []float64
	LambdaDice                       *float64 `json:"lambda_dice"`
	LambdaCE                         *float64 `json:"lambda_ce"`
	LambdaFocal                      *float64 `json:"lambda_focal"`
	Smoothing                        float64  `json:"label_smoothing"`
	Gamma, Alpha, Beta               *float64
	Type                             string `json:"w_type"`
	K                                float64
	Ignore                           int    `json:"ignore_index"`
	Mode                             string `json:"weight_mode"`
	Levels                           int
}

func or(v *float64, def float64) float64 {
	if v == nil {
		return def
	}
	return *v
}

func (p lossSettings) noBackground() bool { return p.Background != nil && !*p.Background }

func (p lossSettings) dice() Dice {
	return Dice{
		Sigmoid: p.Sigmoid, NoBackground: p.noBackground(), Squared: p.Squared, Jaccard: p.Jaccard, Batch: p.Batch,
		Sum: p.Reduction == "sum" || p.Reduction == "none", Weights: p.Weight, Smoothing: Smoothing{p.Num, p.Den},
	}
}

func (p lossSettings) focal() Focal {
	return Focal{Sigmoid: !p.UseSoftmax, NoBackground: p.noBackground(), Gamma: or(p.Gamma, 2), Alpha: or(p.Alpha, 0), Weights: p.Weight}
}

// referenceLosses makes the loss of an operation.
var referenceLosses = map[string]func(p lossSettings) Loss{
	"DiceLoss":       func(p lossSettings) Loss { return p.dice() },
	"MaskedDiceLoss": func(p lossSettings) Loss { return MaskedDice(p.dice()) },
	"DiceCELoss": func(p lossSettings) Loss {
		return Combined{{or(p.LambdaDice, 1), p.dice()}, {or(p.LambdaCE, 1), CrossEntropy{Weights: p.Weight, Smooth: p.Smoothing}}}
	},
	"FocalLoss": func(p lossSettings) Loss { return p.focal() },
	"DiceFocalLoss": func(p lossSettings) Loss {
		focal := p.focal()
		focal.Sigmoid = true // MONAI 1.5.2 never passes softmax on to its focal term
		return Combined{{or(p.LambdaDice, 1), p.dice()}, {or(p.LambdaFocal, 1), focal}}
	},
	"TverskyLoss": func(p lossSettings) Loss {
		return Tversky{
			Sigmoid: p.Sigmoid, NoBackground: p.noBackground(), Batch: p.Batch,
			Alpha: or(p.Alpha, 0.5), Beta: or(p.Beta, 0.5), Smoothing: Smoothing{p.Num, p.Den},
		}
	},
	"GeneralizedDiceLoss": func(p lossSettings) Loss {
		w := map[string]Weighting{"": ByVolumeSquared, "square": ByVolumeSquared, "simple": ByVolume, "uniform": Uniform}[p.Type]
		return GeneralizedDice{Sigmoid: p.Sigmoid, NoBackground: p.noBackground(), Batch: p.Batch, Weighting: w, Smoothing: Smoothing{p.Num, p.Den}}
	},
	"TopK cross-entropy (nnU-Net)":          func(p lossSettings) Loss { return TopK{Percent: p.K} },
	"cross_entropy":                         func(lossSettings) Loss { return CrossEntropy{} },
	"masked cross-entropy (own definition)": func(lossSettings) Loss { return CrossEntropy{} },
	"masked Dice (own definition)":          func(p lossSettings) Loss { return p.dice() },
}

// TestReferenceLosses: every case of golden/numerics/losses at its tolerance,
// and gradients within 1e-5 (relative L2).
func TestReferenceLosses(t *testing.T) {
	checks := map[string]func(t *testing.T, c numericCase) float64{
		"DeepSupervisionLoss":              checkSupervised,
		"nnU-Net deep-supervision weights": checkHeadWeights,
	}
	for operation := range referenceLosses {
		checks[operation] = checkLoss
	}
	checkNumerics(t, "losses", 101, checks)
}

func checkLoss(t *testing.T, c numericCase) float64 {
	var p lossSettings
	c.read(t, c.Parameters, &p)
	labels, ignore := c.array(t, c.Inputs["target"]), p.Ignore
	if mask := c.Inputs["mask"]; mask != nil { // voxels outside the mask get a label of their own
		labels, ignore = withIgnored(t, labels, c.array(t, mask)), 200
	}
	loss, grad := evaluate(t, referenceLosses[c.Operation](p), ignore, c.array(t, c.Inputs["logits"]), labels)
	want := 0.0 // where it is not reduced: ours is the sum
	for _, v := range c.numbers(t, c.Expected["loss"]) {
		want += v
	}
	wantGrad := c.numbers(t, c.Expected["gradient"])
	return max(c.compare([]float64{loss}, []float64{want}), c.compare(wide(grad), wantGrad), relative(grad, wantGrad)/1e-5)
}

// checkSupervised: three heads of halved size.
func checkSupervised(t *testing.T, c numericCase) float64 {
	var heads []value
	c.read(t, c.Inputs["logits"], &heads)
	var p lossSettings
	c.read(t, c.Parameters, &p)
	weights := c.numbers(t, c.Expected["weights"])
	used := 0.0
	if p.Mode == "exp" {
		used = c.compare(HalvedHeads(len(heads)), weights)
	}
	var logits []testkit.NPY
	for _, h := range heads {
		raw, _ := json.Marshal(h) // a file's name: cannot fail
		logits = append(logits, c.array(t, raw))
	}
	loss, grads := evaluateHeads(t, DiceCE(), 0, logits, c.array(t, c.Inputs["target"]), weights)
	used = max(used, c.compare([]float64{loss}, c.numbers(t, c.Expected["loss"])))
	for i, grad := range grads {
		want := c.numbers(t, c.Expected[fmt.Sprint("gradient_level", i)])
		used = max(used, c.compare(wide(grad), want), relative(grad, want)/1e-5)
	}
	return used
}

// evaluateHeads evaluates a loss on several outputs, and its gradient at each.
func evaluateHeads(t *testing.T, l Loss, ignore int, logits []testkit.NPY, labels testkit.NPY, weights []float64) (float64, [][]float32) {
	t.Helper()
	g := newGraph(stepOpset, (&onnx.Graph{}).Names())
	p := newProbe(g)
	g.info["labels"] = floats(int64s(labels.Shape))
	p.feed("labels", int64s(labels.Shape), labels.F32(t))
	var heads []string
	for i, a := range logits {
		name := fmt.Sprint("head", i)
		g.info[name], g.needs[name] = floats(int64s(a.Shape)), true
		p.feed(name, int64s(a.Shape), a.F32(t))
		heads = append(heads, name)
	}
	loss := g.supervised(l, ignore, "labels", heads, weights)
	g.backward(loss, g.reshape(g.scalar(1), 1))
	p.fetch("loss", loss)
	for _, h := range heads {
		d := g.gradient(h)
		if d == "" { // an output of weight 0
			d = g.zeros(g.shape(h))
		}
		p.fetch(h, d)
	}
	out := p.run(t)
	var grads [][]float32
	for _, h := range heads {
		grads = append(grads, out[h])
	}
	return float64(out["loss"][0]), grads
}

func checkHeadWeights(t *testing.T, c numericCase) float64 {
	var p lossSettings
	c.read(t, c.Parameters, &p)
	return c.compare(NormalisedHeads(p.Levels), c.numbers(t, c.Expected["weights"]))
}

// withIgnored gives the voxels outside of the mask the label 200.
func withIgnored(t *testing.T, labels, mask testkit.NPY) testkit.NPY {
	t.Helper()
	m := mask.F64(t)
	if len(m) != labels.Len() || labels.DType != "|u1" {
		t.Fatalf("mask %v and labels %v (%s)", mask.Shape, labels.Shape, labels.DType)
	}
	labels.Raw = slices.Clone(labels.Raw)
	for i, v := range m {
		if v == 0 {
			labels.Raw[i] = 200
		}
	}
	return labels
}
