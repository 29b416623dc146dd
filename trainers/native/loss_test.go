package native

import (
	"math"
	"path/filepath"
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
