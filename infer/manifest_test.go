package infer

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
)

const smallManifest = `
inputs: [{source: "image[CT]"}]
window: {size: [8, 8, 8]}
outputs: [{activation: softmax}]
labels: [{name: spleen, value: 1}]
`

func TestManifestDefaults(t *testing.T) {
	m, err := ParseManifest([]byte(smallManifest))
	if err != nil {
		t.Fatal(err)
	}
	w := m.Window
	if m.Type != "segmentation" || m.Dimension != 3 || m.Network.Axes != "xyz" || m.Orientation != stored || m.Interpolation != "linear" ||
		m.Spacing != (SpacingSpec{}) || !m.Inputs[0].Required || w.Overlap[0] != 0.25 || w.Blend != "gaussian" || w.SigmaScale[0] != 0.125 ||
		w.Padding != "constant" || w.Batch != 1 || m.Outputs[0].Decision != "argmax" || m.Outputs[0].Restore != "scores_linear" ||
		*m.Labels[0].Channel != 1 || *m.Labels[0].Color == (Colour{}) {
		t.Errorf("defaults: %+v", m)
	}
}

// edit returns the small manifest with one line replaced by others.
func edit(key, with string) string {
	var out []string
	for line := range strings.Lines(smallManifest) {
		if !strings.HasPrefix(line, key+":") {
			out = append(out, line)
		}
	}
	return strings.Join(append(out, with), "")
}

// TestManifestRefused wants the file, the key and the reason in every message.
func TestManifestRefused(t *testing.T) {
	for _, c := range []struct{ name, manifest, want string }{
		{"empty", "", "is empty"},
		{"no YAML", "a: [", "manifest.yaml: "},
		{"two documents", smallManifest + "---\na: 1\n", "more than one document"},
		{"a list", "- a", "keys and values are needed here"},
		{"unknown key", smallManifest + "spaceing: native\n", "spaceing: unknown key (line 6)"},
		{"unknown key inside", edit("window", "window: {size: [8, 8, 8], overlp: 0.5}\n"), "window.overlp: unknown key"},
		{"key twice", smallManifest + "type: segmentation\ntype: others\n", "type: appears twice"},
		{"wrong type", smallManifest + "dimension: three\n", `dimension: a whole number is needed here, not "three"`},
		{"fraction", smallManifest + "dimension: 2.5\n", "dimension: a whole number"},
		{"no value", smallManifest + "dimension:\n", "dimension: has no value"},
		{"dimension", smallManifest + "dimension: 4\n", "dimension: 4 is neither 2 nor 3"},
		{"type", smallManifest + "type: detector\n", `type: "detector" is none of`},
		{"axes", smallManifest + "network: {axes: yxz}\n", "network.axes: "},
		{"orientation", smallManifest + "orientation: RAX\n", `orientation: "RAX"`},
		{"orientation twice", smallManifest + "orientation: RLS\n", `orientation: "RLS"`},
		{"spacing", smallManifest + "spacing: [1, 1]\n", "spacing: native or three sizes"},
		{"negative spacing", smallManifest + "spacing: [1, -1, 1]\n", "spacing[1]: -1"},
		{"NaN spacing", smallManifest + "spacing: [1, .nan, 1]\n", "spacing: NaN is no finite number"},
		{"infinite value", edit("inputs", "inputs: [{source: constant, value: .inf}]\n"), "inputs[0].value: a finite number"},
		{"no line", edit("inputs", "inputs: [{source: image, normalize: [{linear: {to: [0, 1]}}]}]\n"), "inputs[0].normalize[0].linear.from: is missing"},
		{"no inputs", edit("inputs", ""), "inputs: is missing"},
		{"no source", edit("inputs", "inputs: [{name: a}]\n"), "inputs[0].source: is missing"},
		{"unknown source", edit("inputs", "inputs: [{source: picture}]\n"), "inputs[0].source: "},
		{"source list", edit("inputs", "inputs: [{source: image[MR]}]\n"), "manifest.yaml: "},
		{"guidance needs a label", "type: deepedit\n" + edit("inputs", "inputs: [{source: image}, {source: guidance}]\n"), "inputs[1].source: guidance needs a label"},
		{"guidance of nothing", "type: deepedit\n" + edit("inputs", "inputs: [{source: image}, {source: 'guidance[liver]'}]\n"), "inputs[1].source: guidance[liver] names no label"},
		{"guidance, not interactive", edit("inputs", "inputs: [{source: image}, {source: 'guidance[spleen]'}]\n"), "clients send no clicks"},
		{"constant without value", edit("inputs", "inputs: [{source: image}, {source: constant}]\n"), "inputs[1].value: "},
		{"value without constant", edit("inputs", "inputs: [{source: image, value: 3}]\n"), "inputs[0].value: "},
		{"required after optional", edit("inputs", "inputs: [{source: image, required: false}, {source: image}]\n"), "inputs[1].required: "},
		{"two steps in one", edit("inputs", "inputs: [{source: image, normalize: [{clip: [0, 1], zscore: {}}]}]\n"), "inputs[0].normalize[0]: exactly one step"},
		{"unknown step", edit("inputs", "inputs: [{source: image, normalize: [{gamma: 2}]}]\n"), "inputs[0].normalize[0].gamma: unknown key"},
		{"voxels", edit("inputs", "inputs: [{source: image, normalize: [{zscore: {voxels: some}}]}]\n"), "inputs[0].normalize[0].zscore.voxels: "},
		{"scope", edit("inputs", "inputs: [{source: image, normalize: [{minmax: {scope: each}}]}]\n"), "inputs[0].normalize[0].minmax.scope: "},
		{"scope all, different lists", edit("inputs", "inputs: [{source: image, normalize: [{zscore: {scope: all}}]}, {source: image}]\n"), "inputs[1].normalize: "},
		{"percent", edit("inputs", "inputs: [{source: image, normalize: [{percentile: {percent: [99, 1]}}]}]\n"), "percentile.percent: "},
		{"clip", edit("inputs", "inputs: [{source: image, normalize: [{clip: [1, 0]}]}]\n"), "inputs[0].normalize[0].clip: "},
		{"clip of three", edit("inputs", "inputs: [{source: image, normalize: [{clip: [1, 2, 3]}]}]\n"), "clip: 2 values are needed"},
		{"window of two", edit("window", "window: {size: [8, 8]}\n"), "window.size: 2 numbers for 3 dimensions"},
		{"window of fractions", edit("window", "window: {size: [8, 8.5, 8]}\n"), "window.size: image or a list"},
		{"window of zero", edit("window", "window: {size: [8, 0, 8]}\n"), "window.size[1]: 0"},
		{"overlap", edit("window", "window: {size: [8, 8, 8], overlap: 1}\n"), "window.overlap: 1"},
		{"overlap list", edit("window", "window: {size: [8, 8, 8], overlap: [0.1, 0.2]}\n"), "window.overlap: one number or 3"},
		{"blend", edit("window", "window: {size: [8, 8, 8], blend: mean}\n"), "window.blend: "},
		{"padding", edit("window", "window: {size: [8, 8, 8], padding: wrap}\n"), "window.padding: "},
		{"batch", edit("window", "window: {size: [8, 8, 8], batch: 0}\n"), "window.batch: 0"},
		{"multiple with size", edit("window", "window: {size: [8, 8, 8], multiple: 8}\n"), "window.multiple: "},
		{"no outputs", edit("outputs", ""), "outputs: is missing"},
		{"activation", edit("outputs", "outputs: [{activation: tanh}]\n"), "outputs[0].activation: "},
		{"threshold", edit("outputs", "outputs: [{activation: sigmoid, threshold: 1.5}]\n"), "outputs[0].threshold: 1.5"},
		{"priority with argmax", edit("outputs", "outputs: [{priority: [{channel: 1}]}]\n"), "outputs[0].priority: belongs to"},
		{"restore", edit("outputs", "outputs: [{restore: none}]\n"), "outputs[0].restore: "},
		{"no labels", edit("labels", ""), "labels: is missing"},
		{"background only", edit("labels", "labels: [{name: background, value: 0}]\n"), "labels: is missing"},
		{"label without name", edit("labels", "labels: [{value: 1}]\n"), "labels[0].name: is missing"},
		{"label without value", edit("labels", "labels: [{name: a}]\n"), "labels[0].value: is missing"},
		{"label twice", edit("labels", "labels: [{name: a, value: 1}, {name: a, value: 2}]\n"), "labels[1].name: "},
		{"channel twice", edit("labels", "labels: [{name: a, value: 1}, {name: b, value: 2, channel: 1}]\n"), "labels[1].channel: "},
		{"label value", edit("labels", "labels: [{name: a, value: 70000}]\n"), "labels[0].value: 70000"},
		{"colour", edit("labels", "labels: [{name: a, value: 1, color: red}]\n"), "labels[0].color: "},
		{"label of no output", edit("labels", "labels: [{name: a, value: 1, output: 1}]\n"), "labels[0].output: 1"},
		{
			"overlap without a rule",
			edit("outputs", "outputs: [{activation: sigmoid}]\n") + "labels: [{name: a, value: 1}, {name: b, value: 2}]\n", "labels: appears twice",
		},
		{"no rule", "inputs: [{source: image}]\noutputs: [{activation: sigmoid}]\nlabels: [{name: a, value: 1}, {name: b, value: 2}]\n", "outputs[0].priority: is missing"},
		{"rule for nothing", "inputs: [{source: image}]\noutputs: [{activation: sigmoid, priority: [{channel: 7}]}]\nlabels: [{name: a, value: 1}]\n", "outputs[0].priority[0].channel: channel 7 has no label"},
		{"rule's value", "inputs: [{source: image}]\noutputs: [{activation: sigmoid, priority: [{channel: 0, value: 9}]}]\nlabels: [{name: a, value: 1}]\n", "outputs[0].priority[0].value: no label has the value 9"},
		{"empty step", smallManifest + "postprocess: [{}]\n", "postprocess[0]: a step belongs here"},
		{"keep unknown label", smallManifest + "postprocess: [{keep_largest: {labels: [liver]}}]\n", "postprocess[0].keep_largest.labels[0]: "},
		{"connectivity", smallManifest + "postprocess: [{keep_largest: {connectivity: 8}}]\n", "keep_largest.connectivity: 8"},
		{"before restoring scores", smallManifest + "postprocess: [{keep_largest: {when: before_restore}}]\n", "keep_largest.when: before_restore needs"},
		{"crop", smallManifest + "crop: {margin: -1}\n", "crop.margin: -1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseManifest([]byte(c.manifest))
			if err == nil {
				t.Fatal("accepted")
			}
			msg, _ := fault.Message(err)
			if fault.KindOf(err) != fault.Invalid || !strings.HasPrefix(msg, "manifest.yaml: ") || !strings.Contains(msg, c.want) {
				t.Errorf("%v error %q, want it to contain %q", fault.KindOf(err), msg, c.want)
			}
		})
	}
}

// graphOf builds a network of one node.
func graphOf(in, out []int64) *onnx.Model {
	m := onnx.NewModel(17)
	m.AddInput("x", onnx.Float32, in...)
	m.AddNode("Identity", []string{"x"}, []string{"y"})
	m.AddOutput("y", onnx.Float32, out...)
	return m
}

// TestBindRefused checks manifests against graphs that do not fit.
func TestBindRefused(t *testing.T) {
	free := []int64{-1, 1, -1, -1, -1}
	two := []int64{-1, 2, -1, -1, -1}
	for _, c := range []struct {
		name, manifest string
		in, out        []int64
		want           string
	}{
		{"fits", smallManifest, free, two, ""},
		{"channels", smallManifest, []int64{-1, 4, -1, -1, -1}, two, "inputs: 1 channels are listed, but x takes 4"},
		{"batch", smallManifest, []int64{4, 1, -1, -1, -1}, two, "window.batch: 1, but x takes batches of 4 only"},
		{"size", smallManifest, []int64{-1, 1, 8, 8, 16}, two, "window.size: [8 8 8] does not fit"},
		{"size of the whole image", edit("window", ""), []int64{-1, 1, 8, 8, 16}, two, "window.size: is the whole image"},
		{"dimension", smallManifest, []int64{-1, 1, -1, -1}, two, "dimension: 3, but x has 4 axes"},
		{"input", smallManifest + "network: {input: image}\n", free, two, `network.input: model.onnx has no input "image"; it has "x"`},
		{"output", edit("outputs", "outputs: [{name: pred}]\n"), free, two, `outputs[0].name: model.onnx has no output "pred"`},
		{"output index", edit("outputs", "outputs: [{index: 3}]\n"), free, two, "outputs[0].index: 3"},
		{"output axes", smallManifest, free, []int64{-1, 2, -1}, "outputs[0]: y has 3 axes"},
		{"label beyond", edit("labels", "labels: [{name: a, value: 7}]\n"), free, two, "labels[0].channel: 7, but the output has 2 channels"},
		{"label missing", smallManifest, free, []int64{-1, 3, -1, -1, -1}, "labels: channel 2 of 3 has no label"},
		{"sigmoid without label", edit("outputs", "outputs: [{activation: sigmoid}]\n"), free, two, "labels: channel 1 of 2 has neither"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := ParseManifest([]byte(c.manifest))
			if err != nil {
				t.Fatal(err)
			}
			_, err = bind(m, graphOf(c.in, c.out))
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if msg, _ := fault.Message(err); !strings.HasPrefix(msg, "manifest.yaml: ") || !strings.Contains(msg, c.want) {
				t.Errorf("error %q, want it to contain %q", msg, c.want)
			}
		})
	}
}

func TestReadModelMissingFiles(t *testing.T) {
	if _, _, err := readModel(fstest.MapFS{}); fault.KindOf(err) != fault.NotFound || !strings.Contains(err.Error(), ManifestFile) {
		t.Errorf("without a manifest: %v", err)
	}
	only := fstest.MapFS{ManifestFile: {Data: []byte(smallManifest)}}
	if _, _, err := readModel(only); fault.KindOf(err) != fault.NotFound || !strings.Contains(err.Error(), NetworkFile) {
		t.Errorf("without a network: %v", err)
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(smallManifest))
	f.Add([]byte("a: &a [*a]"))
	for _, m := range bundleManifests {
		f.Add([]byte(m))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseManifest(data)
		if err != nil && fault.KindOf(err) != fault.Invalid {
			t.Errorf("kind %v", fault.KindOf(err))
		}
		if err == nil && len(m.info("m").Labels) == 0 {
			t.Error("accepted without labels")
		}
	})
}
