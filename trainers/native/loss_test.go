package native

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/testkit"
)

// evaluate runs a loss on logits and returns value and gradient.
func evaluate(t *testing.T, l Loss, ignore int, logits, labels testkit.NPY) (loss float64, grad []float32) {
	t.Helper()
	shape := int64s(logits.Shape)
	if err := l.check(int(shape[1])); err != nil {
		t.Fatal(err)
	}
	g := newGraph(stepOpset, (&onnx.Graph{}).Names())
	p := newProbe(g)
	g.info["logits"], g.info["labels"] = floats(shape), floats(int64s(labels.Shape))
	g.needs["logits"] = true
	p.feed("logits", shape, logits.F32(t))
	p.feed("labels", int64s(labels.Shape), labels.F32(t))
	v := g.reshape(l.value(&target{g: g, logits: "logits", labels: "labels", ignore: ignore}), 1)
	g.backward(v, g.reshape(g.scalar(1), 1))
	p.fetch("loss", v)
	d := g.gradient("logits")
	if d == "" { // a loss that does not depend on the logits
		d = g.zeros(shape)
	}
	p.fetch("grad", d)
	out := p.run(t)
	return float64(out["loss"][0]), out["grad"]
}

// TestNetworkLosses: golden/networks/ops/losses, 1e-5 relative.
func TestNetworkLosses(t *testing.T) {
	root := testkit.Shared(t, "golden", "networks", "ops")
	var cases []struct {
		Name, Logits, Labels, Dlogits string
		Loss                          float64
	}
	readJSON(t, filepath.Join(root, "losses", "losses.json"), &cases)
	losses := map[string]Loss{
		"dicece": DiceCE(), "dice": Dice{}, "ce": CrossEntropy{},
		"dicece_nobg":     Combined{{1, Dice{NoBackground: true}}, {1, CrossEntropy{}}},
		"dicece_batch_sq": Combined{{1, Dice{Batch: true, Squared: true}}, {1, CrossEntropy{}}},
	}
	if len(cases) != 15 {
		t.Fatalf("%d cases instead of 15", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			l := losses[strings.SplitN(c.Name, "_", 3)[2]]
			if l == nil {
				t.Fatal("no loss of this name")
			}
			loss, grad := evaluate(t, l, 0, testkit.ReadNPY(t, filepath.Join(root, c.Logits)), testkit.ReadNPY(t, filepath.Join(root, c.Labels)))
			e := relative(grad, testkit.ReadNPY(t, filepath.Join(root, c.Dlogits)).F64(t))
			if r := math.Abs(loss-c.Loss) / c.Loss; !(r <= 1e-5 && e <= 1e-5) {
				t.Errorf("loss %.8g instead of %.8g (%.1e), gradient off by %.1e", loss, c.Loss, r, e)
			}
		})
	}
}

// lossCase is one case of golden/numerics/losses.
type lossCase struct {
	Name, Operation string
	Parameters      struct {
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
		Ignore                           int `json:"ignore_index"`
	}
	Inputs    map[string]json.RawMessage
	Expected  map[string]json.RawMessage
	Tolerance struct{ Atol, Rtol float64 }
}

// entry is one array or number of a case; several heads have lists instead,
// which read as nothing.
type entry struct {
	File  string
	Value float64
}

func entryOf(m map[string]json.RawMessage, key string) (e entry) {
	_ = json.Unmarshal(m[key], &e) // a list stays empty
	return e
}

func or(v *float64, def float64) float64 {
	if v == nil {
		return def
	}
	return *v
}

// loss translates the reference's parameters; nil when the case is another
// matter (a loss of masks or of several heads).
func (c lossCase) loss() Loss {
	p := c.Parameters
	noBackground := p.Background != nil && !*p.Background
	smooth := Smoothing{p.Num, p.Den}
	dice := Dice{
		Sigmoid: p.Sigmoid, NoBackground: noBackground, Squared: p.Squared, Jaccard: p.Jaccard, Batch: p.Batch,
		Sum: p.Reduction == "sum" || p.Reduction == "none", Weights: p.Weight, Smoothing: smooth,
	}
	focal := Focal{Sigmoid: !p.UseSoftmax, NoBackground: noBackground, Gamma: or(p.Gamma, 2), Alpha: or(p.Alpha, 0), Weights: p.Weight}
	switch c.Operation {
	case "DiceLoss":
		return dice
	case "DiceCELoss":
		return Combined{{or(p.LambdaDice, 1), dice}, {or(p.LambdaCE, 1), CrossEntropy{Weights: p.Weight, Smooth: p.Smoothing}}}
	case "FocalLoss":
		return focal
	case "DiceFocalLoss":
		focal.Sigmoid = true // MONAI 1.5.2 never passes softmax on to its focal term
		return Combined{{or(p.LambdaDice, 1), dice}, {or(p.LambdaFocal, 1), focal}}
	case "TverskyLoss":
		return Tversky{Sigmoid: p.Sigmoid, NoBackground: noBackground, Batch: p.Batch, Alpha: or(p.Alpha, 0.5), Beta: or(p.Beta, 0.5), Smoothing: smooth}
	case "GeneralizedDiceLoss":
		w := map[string]Weighting{"": ByVolumeSquared, "square": ByVolumeSquared, "simple": ByVolume, "uniform": Uniform}[p.Type]
		return GeneralizedDice{Sigmoid: p.Sigmoid, NoBackground: noBackground, Batch: p.Batch, Weighting: w, Smoothing: smooth}
	case "TopK cross-entropy (nnU-Net)":
		return TopK{Percent: p.K}
	case "cross_entropy", "masked cross-entropy (own definition)":
		return CrossEntropy{}
	case "masked Dice (own definition)":
		return dice
	}
	return nil
}

// TestReferenceLosses: golden/numerics/losses at the tolerance of each case.
func TestReferenceLosses(t *testing.T) {
	root := testkit.Shared(t, "golden", "numerics", "losses")
	var file struct{ Cases []lossCase }
	readJSON(t, filepath.Join(root, "cases.json"), &file)
	checked, others := 0, map[string]int{}
	for _, c := range file.Cases {
		l := c.loss()
		if l == nil {
			others[c.Operation]++
			continue
		}
		checked++
		t.Run(c.Name, func(t *testing.T) {
			labels, ignore := testkit.ReadNPY(t, filepath.Join(root, entryOf(c.Inputs, "target").File)), c.Parameters.Ignore
			if mask := entryOf(c.Inputs, "mask"); mask.File != "" { // voxels outside the mask get a label of their own
				labels, ignore = withIgnored(t, labels, testkit.ReadNPY(t, filepath.Join(root, mask.File))), 200
			}
			loss, grad := evaluate(t, l, ignore, testkit.ReadNPY(t, filepath.Join(root, entryOf(c.Inputs, "logits").File)), labels)
			want := entryOf(c.Expected, "loss").Value
			if f := entryOf(c.Expected, "loss").File; f != "" { // not reduced: ours is the sum
				for _, v := range testkit.ReadNPY(t, filepath.Join(root, f)).F64(t) {
					want += v
				}
			}
			if d := math.Abs(loss - want); !(d <= c.Tolerance.Atol+c.Tolerance.Rtol*math.Abs(want)) {
				t.Errorf("loss %.8g instead of %.8g", loss, want)
			}
			for i, w := range testkit.ReadNPY(t, filepath.Join(root, entryOf(c.Expected, "gradient").File)).F64(t) {
				if d := math.Abs(float64(grad[i]) - w); !(d <= c.Tolerance.Atol+c.Tolerance.Rtol*math.Abs(w)) {
					t.Fatalf("gradient[%d] is %.8g instead of %.8g", i, grad[i], w)
				}
			}
			if e := relative(grad, testkit.ReadNPY(t, filepath.Join(root, entryOf(c.Expected, "gradient").File)).F64(t)); !(e <= 1e-5) {
				t.Errorf("gradient off by %.1e (relative L2)", e)
			}
		})
	}
	t.Logf("%d of %d cases; left to others: %v", checked, len(file.Cases), others)
	if checked < 75 {
		t.Errorf("only %d cases were checked", checked)
	}
}

// TestDeepSupervision: golden/numerics/losses, three heads of halved size.
func TestDeepSupervision(t *testing.T) {
	root := testkit.Shared(t, "golden", "numerics", "losses")
	var file struct{ Cases []lossCase }
	readJSON(t, filepath.Join(root, "cases.json"), &file)
	checked := 0
	for _, c := range file.Cases {
		if c.Operation != "DeepSupervisionLoss" {
			continue
		}
		checked++
		t.Run(c.Name, func(t *testing.T) {
			var logits []entry
			var weights struct{ Value []float64 }
			if json.Unmarshal(c.Inputs["logits"], &logits) != nil || json.Unmarshal(c.Expected["weights"], &weights) != nil {
				t.Fatal("logits or weights are no lists")
			}
			g := newGraph(stepOpset, (&onnx.Graph{}).Names())
			p := newProbe(g)
			labels := testkit.ReadNPY(t, filepath.Join(root, entryOf(c.Inputs, "target").File))
			g.info["labels"] = floats(int64s(labels.Shape))
			p.feed("labels", int64s(labels.Shape), labels.F32(t))
			var heads []string
			for i, f := range logits {
				a, name := testkit.ReadNPY(t, filepath.Join(root, f.File)), fmt.Sprint("head", i)
				g.info[name], g.needs[name] = floats(int64s(a.Shape)), true
				p.feed(name, int64s(a.Shape), a.F32(t))
				heads = append(heads, name)
			}
			loss := g.supervised(DiceCE(), 0, "labels", heads, weights.Value)
			g.backward(loss, g.reshape(g.scalar(1), 1))
			p.fetch("loss", loss)
			for _, h := range heads {
				p.fetch(h, g.gradient(h))
			}
			out := p.run(t)
			want := entryOf(c.Expected, "loss").Value
			if d := math.Abs(float64(out["loss"][0]) - want); !(d <= 1e-5*want) {
				t.Errorf("loss %.8g instead of %.8g", out["loss"][0], want)
			}
			for i, h := range heads {
				f := entryOf(c.Expected, fmt.Sprint("gradient_level", i)).File
				if e := relative(out[h], testkit.ReadNPY(t, filepath.Join(root, f)).F64(t)); !(e <= 1e-5) {
					t.Errorf("gradient of head %d is off by %.1e", i, e)
				}
			}
		})
	}
	if checked != 8 {
		t.Errorf("%d cases instead of 8", checked)
	}
}

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

// Settings that do not fit are refused before anything is compiled.
func TestLossesRefuseBadSettings(t *testing.T) {
	for i, c := range []struct {
		loss     Loss
		channels int
		says     string
	}{
		{Dice{Weights: []float64{1}}, 3, "1 class weights for 3"},
		{Dice{NoBackground: true}, 1, "several classes"},
		{CrossEntropy{Smooth: 1}, 3, "label smoothing"},
		{TopK{Percent: 101}, 3, "percent"},
		{TopK{}, 1, "several classes"},
		{Focal{}, 1, "sigmoid"},
		{Focal{Gamma: -1}, 2, "gamma"},
		{Tversky{Alpha: -1}, 2, "alpha"},
		{GeneralizedDice{Weighting: 3}, 2, "weighting"},
		{Combined{}, 2, "no terms"},
		{Combined{{1, Dice{Weights: []float64{1}}}}, 2, "class weights"},
	} {
		err := c.loss.check(c.channels)
		if err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%d: %#v: %v", i, c.loss, err)
		}
	}
}
