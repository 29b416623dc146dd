package e2e

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/phantom"
	"github.com/voxloop/voxloop/internal/testkit"
	"github.com/voxloop/voxloop/trainers"
)

const smallManifest = `name: small
modality: MR
inputs:
  - {source: "image[MR]", normalize: [zscore: {voxels: all}]}
orientation: RAS
window: {size: [32, 48, 32], overlap: 0.25}
outputs: [{activation: softmax}]
labels:
  - {name: anterior, value: 1}
  - {name: posterior, value: 2}
`

// smallModel is a model folder with a residual U-Net of 143,014 parameters,
// whose weights know nothing of phantoms.
func smallModel(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	network, err := os.ReadFile(filepath.Join(testkit.Shared(t, "golden", "networks", "unet_res2_prelu"), "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"model.onnx": network, "manifest.yaml": []byte(smallManifest)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// learning are the flags of a training that learns phantoms in half a minute.
func learning(studies, model, out, steps string) []string {
	return []string{
		"train", "--studies", studies, "--model", model, "--out", out, "--steps", steps, "--scratch", "--augment", "none", "--seed", "3",
		"--set", "optimizer.rate=5e-3", "--set", "schedule.warm_up=10", "--set", "validate_every=4", "--json",
	}
}

// events reads the lines of a training's standard output.
func events(t testing.TB, r io.Reader, each func(trainers.Event)) {
	t.Helper()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e trainers.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Errorf("not an event: %s", lines.Bytes())
			return
		}
		each(e)
	}
}

// runTrain runs a command to its end and returns its exit code, events and
// standard error.
func runTrain(t testing.TB, args []string) (code int, list []trainers.Event, stderr string) {
	t.Helper()
	cmd := exec.Command(binary(t), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // the exit code tells
	events(t, &out, func(e trainers.Event) { list = append(list, e) })
	return cmd.ProcessState.ExitCode(), list, errs.String()
}

func finished(t testing.TB, args []string) trainers.Result {
	t.Helper()
	code, list, stderr := runTrain(t, args)
	if code != 0 || len(list) == 0 || list[len(list)-1].Result == nil {
		t.Fatalf("exit code %d, %s", code, tail(stderr, 2000))
	}
	return *list[len(list)-1].Result
}

// TestTrainFromScratch trains on phantoms from weights that know nothing to a
// model that infer takes as it is. Killed twice on the way, it makes the same
// network, bit for bit.
func TestTrainFromScratch(t *testing.T) {
	studies, model, dir := labelledPhantoms(t, 13), smallModel(t), t.TempDir()

	before := finished(t, learning(studies, model, filepath.Join(dir, "fresh"), "1"))
	whole := finished(t, learning(studies, model, filepath.Join(dir, "whole"), "160"))
	t.Logf("mean Dice %.3f after one step, %.3f after %d in %v", before.Mean, whole.Mean, whole.Steps, whole.Took.Round(time.Second))
	if before.Mean > 0.2 || whole.Mean < 0.9 {
		t.Errorf("mean Dice went from %.3f to %.3f", before.Mean, whole.Mean)
	}

	killed := filepath.Join(dir, "killed")
	args := learning(studies, model, killed, "160")
	killAt(t, args, 50)
	killAt(t, args, 110)
	if _, err := os.Stat(killed); !os.IsNotExist(err) {
		t.Fatalf("a killed training made a model: %v", err)
	}
	finished(t, args)
	if networkSum(t, killed) != networkSum(t, filepath.Join(dir, "whole")) {
		t.Error("the killed training made another network than the one that was left alone")
	}

	out := filepath.Join(dir, "labels.nii.gz")
	image := filepath.Join(studies, phantom.Name(13)) // not labelled: neither trained on nor validated
	if b, err := exec.Command(binary(t), "infer", "--model", killed, "--image", image, "--out", out).CombinedOutput(); err != nil {
		t.Fatalf("infer with the trained model: %v\n%s", err, b)
	}
	if d := diceWith(t, out, filepath.Join(studies, phantom.TruthDir, phantom.Name(13))); d < 0.85 {
		t.Errorf("Dice %.3f on an image that the model has not seen", d)
	}
}

// killAt starts a training and kills it with SIGKILL once it has made a
// checkpoint and a step beyond it after the given one.
func killAt(t *testing.T, args []string, step int) {
	t.Helper()
	cmd := exec.Command(binary(t), args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	saved, dead := 0, false
	events(t, out, func(e trainers.Event) {
		if e.Kind == trainers.Checkpoint && e.Step >= step {
			saved = e.Step
		}
		if saved > 0 && e.Kind == trainers.Progress && e.Step > saved && !dead {
			dead = true
			_ = cmd.Process.Kill()
		}
	})
	if err := cmd.Wait(); err == nil || !dead {
		t.Fatalf("the training was done before it was killed (last checkpoint %d): %v", saved, err)
	}
}

func readLabels(t testing.TB, name string) *imaging.LabelMap {
	t.Helper()
	v, err := codec.Read(t.Context(), name, codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := imaging.LabelMapOf(v)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// diceWith is the mean Dice of both structures.
func diceWith(t testing.TB, found, truth string) float64 {
	t.Helper()
	a, b := readLabels(t, found), readLabels(t, truth)
	var both, sum [3]float64
	for i, v := range a.Data {
		sum[v]++
		sum[b.Data[i]]++
		if v == b.Data[i] {
			both[v]++
		}
	}
	return both[1]/sum[1] + both[2]/sum[2]
}

// TestTrainOnBadInput has one case of every kind that cannot be used; the rest
// is trained on, and each bad one is named.
func TestTrainOnBadInput(t *testing.T) {
	studies, model := labelledPhantoms(t, 9), smallModel(t)
	label := func(i int) string { return filepath.Join(studies, "labels", "final", phantom.Name(i)) }
	change := func(name string, f func(l *imaging.LabelMap)) {
		l := readLabels(t, name)
		f(l)
		file, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := codec.WriteLabels(file, ".nii.gz", l, imaging.Uint8, codec.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	change(label(1), func(l *imaging.LabelMap) { l.Data[100] = 9 })                  // a value that no label has
	change(label(2), func(l *imaging.LabelMap) { clear(l.Data) })                    // empty
	change(label(3), func(l *imaging.LabelMap) { l.Affine[0][3] += 50 })             // elsewhere
	if err := os.WriteFile(label(4), []byte("no image at all"), 0o600); err != nil { // broken
		t.Fatal(err)
	}
	spoil(t, filepath.Join(studies, phantom.Name(5))) // NaN voxels
	out := filepath.Join(t.TempDir(), "out")
	args := append(learning(studies, model, out, "3"), "--set", "patch=[48, 64, 48]") // larger than the images
	code, list, stderr := runTrain(t, args)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, tail(stderr, 2000))
	}
	var warnings strings.Builder
	for _, e := range list {
		if e.Kind == trainers.Warned {
			warnings.WriteString(e.Message + "\n")
		}
	}
	for _, says := range []string{
		"case phantom_0001", "9", "case phantom_0002 has no foreground", "phantom_0003", "grid", "phantom_0004", "case phantom_0005", "finite",
	} {
		if !strings.Contains(warnings.String(), says) {
			t.Errorf("the warnings do not say %q:\n%s", says, warnings.String())
		}
	}
	if !strings.Contains(stderr, "images without a final label, left out: 1") {
		t.Errorf("standard error does not name the image without a label: %s", stderr)
	}
	rec, err := trainers.ReadRecord(out)
	if err != nil {
		t.Fatal(err)
	}
	if len(rec.Cases) != 4 { // 2, 6, 7 and 8
		t.Errorf("trained on %+v", rec.Cases)
	}
}

// spoil makes voxels of an image NaN.
func spoil(t testing.TB, name string) {
	t.Helper()
	v, err := codec.Read(t.Context(), name, codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	w := imaging.NewVolume(v.Grid, 1, imaging.Float32)
	data := w.Data.(imaging.Samples[float32])
	for i := range data {
		data[i] = float32(v.Data.At(i))
	}
	data[7] = float32(math.NaN())
	if err := codec.WriteFile(t.Context(), name, w, codec.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestTrainWithoutLabels(t *testing.T) {
	studies := t.TempDir()
	if err := phantom.WriteCases(t.Context(), studies, 2, 1); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	code, _, stderr := runTrain(t, learning(studies, smallModel(t), out, "2"))
	if code != 1 || !strings.Contains(stderr, "there are no labelled images to train on") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// A child stops when its parent's end of standard input closes, leaving a
// checkpoint; it answers a request that makes no sense with a failed event.
func TestTrainChild(t *testing.T) {
	studies, model, dir := labelledPhantoms(t, 5), smallModel(t), t.TempDir()
	r := trainers.Request{
		Protocol: trainers.ProtocolVersion, Model: model, Out: filepath.Join(dir, "out"), Work: filepath.Join(dir, "work"), Device: "cpu",
		Config: trainers.Config{Seed: 1, Steps: 100_000, Batch: 1},
	}
	for i := 1; i < 5; i++ {
		role := trainers.Train
		if i == 1 {
			role = trainers.Validate
		}
		r.Cases = append(r.Cases, trainers.Case{
			ID: strings.TrimSuffix(phantom.Name(i), ".nii.gz"), Images: []string{filepath.Join(studies, phantom.Name(i))},
			Label: filepath.Join(studies, "labels", "final", phantom.Name(i)), Role: role,
		})
	}
	line, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary(t), "train", "--child", "--nice", "5")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
	var last trainers.Event
	var hung time.Time
	events(t, out, func(e trainers.Event) {
		last = e
		if e.Kind == trainers.Progress && hung.IsZero() {
			hung = time.Now()
			_ = in.Close()
		}
	})
	_ = cmd.Wait() // the exit code tells
	if took := time.Since(hung); took > 2*time.Second {
		t.Errorf("the child lived for %v", took)
	}
	if cmd.ProcessState.ExitCode() != 1 || last.Kind != trainers.Broke || last.Fault != "canceled" {
		t.Errorf("exit code %d, last event %+v", cmd.ProcessState.ExitCode(), last)
	}
	if _, err := os.Stat(filepath.Join(r.Work, "last.ckpt")); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "no JSON\n", `{"protocol":1,"modle":"x"}` + "\n", `{"protocol":2}` + "\n"} {
		cmd := exec.Command(binary(t), "train", "--child")
		cmd.Stdin = strings.NewReader(bad)
		b, _ := cmd.Output() // the exit code tells
		var e trainers.Event
		if json.Unmarshal(b, &e) != nil || e.Kind != trainers.Broke || cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("%q: exit code %d, %s", bad, cmd.ProcessState.ExitCode(), b)
		}
	}
}

// SIGINT stops a training in an orderly way; the same command goes on.
func TestTrainStopsOnSignal(t *testing.T) {
	studies, model, dir := labelledPhantoms(t, 5), smallModel(t), t.TempDir()
	args := learning(studies, model, filepath.Join(dir, "out"), "5000")
	cmd := exec.Command(binary(t), args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var last trainers.Event
	sent := false
	events(t, out, func(e trainers.Event) {
		if last = e; e.Kind == trainers.Progress && !sent {
			sent = cmd.Process.Signal(syscall.SIGINT) == nil
		}
	})
	_ = cmd.Wait() // the exit code tells
	if cmd.ProcessState.ExitCode() != 1 || last.Fault != "canceled" || !strings.Contains(errs.String(), "the same command goes on from here\nvoxloop: stopped before it was done\n") {
		t.Errorf("exit code %d, %+v, %s", cmd.ProcessState.ExitCode(), last, errs.String())
	}
	if _, err := os.Stat(filepath.Join(dir, "out.work", "last.ckpt")); err != nil {
		t.Error(err)
	}
}

func TestCrossval(t *testing.T) {
	studies, model, dir := labelledPhantoms(t, 5), smallModel(t), t.TempDir()
	args := learning(studies, model, filepath.Join(dir, "cv"), "2")
	args[0] = "crossval"
	code, _, stderr := runTrain(t, append(args, "--folds", "2"))
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	manifest, err := os.ReadFile(filepath.Join(dir, "cv", "ensemble", "manifest.yaml"))
	if err != nil || !strings.Contains(string(manifest), "member 1: fold1") {
		t.Errorf("the ensemble of the folds: %s, %v", manifest, err)
	}
	f, err := os.Open(filepath.Join(dir, "cv", "cases.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1+4*2 || strings.Join(rows[0], ",") != "case,fold,label,name,dice" {
		t.Errorf("rows %v", rows)
	}
	seen := map[string]int{}
	for _, r := range rows[1:] {
		seen[r[0]]++
	}
	if len(seen) != 4 {
		t.Errorf("cases %v", seen)
	}
	var sum trainers.CrossValidation
	b, err := os.ReadFile(filepath.Join(dir, "cv", "summary.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &sum); err != nil || sum.Cases != 4 || sum.Classes["anterior"].Cases != 4 || len(sum.Folds) != 2 {
		t.Errorf("summary %s: %v", b, err)
	}
}
