package trainers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/testkit"
	"github.com/voxloop/voxloop/trainers/native"
)

// Cases that cannot be used are left out by name; the rest is trained on.
func TestTrainingLeavesBadCasesOut(t *testing.T) {
	d := &balls{
		broken: map[string]error{
			"1": badCase("1", "the label has the value 7, which the model does not know"),
			"2": badCase("2", "voxels that are not finite"),
			"6": badCase("6", "the image cannot be read"),
		},
		empty: map[string]bool{"3": true},
	}
	r := ballRequest(t, 8, 3)
	r.Config.Steps = 10
	r.Cases[3].Label = ""
	report, events := collect()
	res, err := newTrainer(t, d).Train(t.Context(), r, report)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"left out: case 1: the label has the value 7, which the model does not know", "left out: case 2: voxels that are not finite",
		"case 3 has no foreground: its label map is empty", "left out: case 4 has no label", "left out: case 6: the image cannot be read",
	}
	if got := messages(*events); !slices.Equal(got, want) || !slices.Equal(res.Warnings, want) {
		t.Errorf("warnings\n%s\n%s\ninstead of\n%s", strings.Join(got, "\n"), strings.Join(res.Warnings, "\n"), strings.Join(want, "\n"))
	}
	rec, err := ReadRecord(r.Out)
	if err != nil {
		t.Fatal(err)
	}
	if len(rec.LeftOut) != 4 || rec.LeftOut[0].ID != "1" || len(rec.Cases) != 4 || len(rec.Validation) != 2 {
		t.Errorf("record: left out %v, %d cases, %d validated", rec.LeftOut, len(rec.Cases), len(rec.Validation))
	}
}

func TestNothingToTrainOn(t *testing.T) {
	d := &balls{broken: map[string]error{"1": badCase("1", "broken")}}
	r := ballRequest(t, 2, 1)
	_, err := newTrainer(t, d).Train(t.Context(), r, func(Event) {})
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "case 1: broken") {
		t.Errorf("error %v", err)
	}
	r = ballRequest(t, 1, 1)
	if _, err := newTrainer(t, d).Train(t.Context(), r, func(Event) {}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("only validation cases: %v", err)
	}
	if _, err := os.Stat(r.Out); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a failed training left a model")
	}
}

// A failure that is not the case's own ends the training.
func TestFailuresOfTheMachineAreNoBadCases(t *testing.T) {
	d := &balls{broken: map[string]error{"1": errors.New("the disk is on fire")}}
	r := ballRequest(t, 3, 1)
	report, events := collect()
	if _, err := newTrainer(t, d).Train(t.Context(), r, report); err == nil || !strings.Contains(err.Error(), "fire") {
		t.Errorf("error %v", err)
	}
	list := *events
	if last := list[len(list)-1]; last.Kind != Broke || last.Fault != "internal" || strings.Contains(last.Message, "fire") {
		t.Errorf("last event %+v", last)
	}
}

func TestOneCaseOnly(t *testing.T) {
	r := ballRequest(t, 1, 0)
	r.Config.Steps = 10
	res, err := newTrainer(t, &balls{}).Train(t.Context(), r, func(Event) {})
	if err != nil {
		t.Fatal(err)
	}
	if res.Dice != nil || len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], "no cases for validation") {
		t.Errorf("result %+v", res)
	}
}

func TestPatchLargerThanTheImage(t *testing.T) {
	r := ballRequest(t, 3, 1)
	r.Config.Steps, r.Config.Patch = 4, [3]int{16, 20, 16}
	if _, err := newTrainer(t, &balls{}).Train(t.Context(), r, func(Event) {}); err != nil {
		t.Fatal(err)
	}
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, r *Request)
		kind   fault.Kind
		says   string
	}{
		"protocol":      {func(_ *testing.T, r *Request) { r.Protocol = 9 }, fault.Invalid, "protocol 9"},
		"no folders":    {func(_ *testing.T, r *Request) { r.Work = "" }, fault.Missing, "work"},
		"no network":    {func(_ *testing.T, r *Request) { r.Model = filepath.Dir(r.Model) }, fault.NotFound, "model.onnx"},
		"out is there":  {func(t *testing.T, r *Request) { r.Out = t.TempDir() }, fault.Conflict, "exists"},
		"device":        {func(_ *testing.T, r *Request) { r.Device = "abacus" }, fault.Invalid, "abacus"},
		"no role":       {func(_ *testing.T, r *Request) { r.Cases[0].Role = "" }, fault.Invalid, "case 1"},
		"twice":         {func(_ *testing.T, r *Request) { r.Cases[1].ID = "1" }, fault.Invalid, "twice"},
		"no cases":      {func(_ *testing.T, r *Request) { r.Cases = nil }, fault.Invalid, "no cases"},
		"configuration": {func(_ *testing.T, r *Request) { r.Config.Optimizer.Name = "magic" }, fault.Invalid, "optimizer.name"},
		"class weights": {func(_ *testing.T, r *Request) { r.Config.Loss.ClassWeights = []float64{1} }, fault.Invalid, "loss.class_weights"},
		"ignored class": {func(_ *testing.T, r *Request) { r.Config.IgnoreLabel = 1 }, fault.Invalid, "shell"},
		"frozen":        {func(_ *testing.T, r *Request) { r.Config.Freeze = []string{"nothing.*"} }, fault.Invalid, "nothing.*"},
		"label changed": {func(_ *testing.T, r *Request) { r.Cases[0].LabelSum = "00" }, fault.Conflict, "case 1"},
		"file gone": {func(t *testing.T, r *Request) {
			if err := os.Remove(r.Cases[1].Images[0]); err != nil {
				t.Fatal(err)
			}
		}, fault.NotFound, "case 2"},
	} {
		t.Run(name, func(t *testing.T) {
			r := ballRequest(t, 4, 1)
			out := r.Out
			c.change(t, &r)
			_, err := newTrainer(t, &balls{}).Train(t.Context(), r, func(Event) {})
			if fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v (%v)", err, fault.KindOf(err))
			}
			if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
				t.Error("there is a model")
			}
		})
	}
}

// An operator without a rule is refused with its node, before a case is read.
func TestUntrainableNetworkIsRefusedFirst(t *testing.T) {
	m := tinyNetwork()
	m.Graph.Nodes[2].Op, m.Graph.Nodes[2].Name = "Hardmax", "the/node"
	d := &balls{network: m, broken: map[string]error{"1": errors.New("a case was read")}}
	_, err := newTrainer(t, d).Train(t.Context(), ballRequest(t, 3, 1), func(Event) {})
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "Hardmax") || !strings.Contains(err.Error(), "the/node") {
		t.Errorf("error %v", err)
	}
}

// spoiling makes the batches of some steps NaN.
type spoiling struct {
	stepper
	steps func(index int) bool
	rates *[]float64
}

func (s spoiling) Run(ctx context.Context, b batch, p native.Pace) (float64, error) {
	*s.rates = append(*s.rates, p.Rate)
	if s.steps(b.index) {
		b.images = slices.Clone(b.images)
		b.images[0] = float32(math.NaN())
	}
	return s.stepper.Run(ctx, b, p)
}

func TestLossThatIsNotFinite(t *testing.T) {
	r := ballRequest(t, 4, 1)
	r.Config.Steps, r.Config.Schedule = 30, ScheduleConfig{Name: "constant", WarmUp: -1}
	var rates []float64
	n := newTrainer(t, &balls{})
	n.wrap = func(s stepper) stepper {
		return spoiling{s, func(i int) bool { return i == 5 || i == 6 }, &rates}
	}
	res, err := n.Train(t.Context(), r, func(Event) {})
	if err != nil {
		t.Fatal(err)
	}
	if rates[5] != 0.05 || rates[6] != 0.025 || rates[7] != 0.0125 || rates[29] != 0.0125 {
		t.Errorf("rates %v", rates)
	}
	if len(res.Warnings) != 2 || !strings.Contains(res.Warnings[0], "step 6: the loss") {
		t.Errorf("warnings %q", res.Warnings)
	}
	rec, err := ReadRecord(r.Out)
	if err != nil {
		t.Fatal(err)
	}
	if rec.Skipped != 2 || rec.Steps != 30 {
		t.Errorf("%d of %d steps skipped", rec.Skipped, rec.Steps)
	}
}

func TestLossThatStaysNotFinite(t *testing.T) {
	r := ballRequest(t, 4, 1)
	var rates []float64
	n := newTrainer(t, &balls{})
	n.wrap = func(s stepper) stepper { return spoiling{s, func(i int) bool { return i >= 3 }, &rates} }
	_, err := n.Train(t.Context(), r, func(Event) {})
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "10 steps in a row up to step 13") {
		t.Errorf("error %v", err)
	}
}

// hungry fails like ONNX Runtime where memory is short.
type hungry struct {
	stepper
	bytes int
}

func (h hungry) Run(ctx context.Context, b batch, p native.Pace) (float64, error) {
	if len(b.images) > h.bytes {
		return 0, fault.Wrap(fault.Invalid, errors.New("Non-zero status code: Failed to allocate memory for requested buffer of size 1"), "the network failed on device cpu")
	}
	return h.stepper.Run(ctx, b, p)
}

func TestShortMemoryMakesBatchAndPatchSmaller(t *testing.T) {
	r := ballRequest(t, 4, 1)
	r.Config.Steps, r.Config.Batch, r.Config.Patch = 8, 4, [3]int{32, 20, 16}
	n := newTrainer(t, &balls{})
	n.wrap = func(s stepper) stepper { return hungry{stepper: s, bytes: 16 * 20 * 16} }
	res, err := n.Train(t.Context(), r, func(Event) {})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"memory was short: training goes on with batch 2 and patch [32 20 16]",
		"memory was short: training goes on with batch 1 and patch [32 20 16]",
		"memory was short: training goes on with batch 1 and patch [16 20 16]",
	}
	if !slices.Equal(res.Warnings, want) {
		t.Errorf("warnings %q", res.Warnings)
	}
	rec, err := ReadRecord(r.Out)
	if err != nil {
		t.Fatal(err)
	}
	if rec.Batch != 1 || rec.Patch != [3]int{16, 20, 16} || rec.Config.Batch != 4 {
		t.Errorf("recorded batch %d, patch %v", rec.Batch, rec.Patch)
	}
	r = ballRequest(t, 4, 1)
	n.wrap = func(s stepper) stepper { return hungry{stepper: s} }
	if _, err := n.Train(t.Context(), r, func(Event) {}); fault.KindOf(err) != fault.TooLarge {
		t.Errorf("no memory at all: %v", err)
	}
}

// A step that would not fit is not tried: the estimate decides, first for parts
// that are computed twice, then for a smaller batch.
func TestMemoryIsEstimatedFirst(t *testing.T) {
	r := ballRequest(t, 4, 1)
	r.Config.Steps, r.Config.Batch, r.Config.Patch = 4, 4, [3]int{32, 20, 16}
	spec := (&balls{network: tinyNetwork()}).Spec()
	cost := func(batch int) int64 {
		t.Helper()
		c := r.Config.WithDefaults(spec, 4)
		c.Batch = batch
		o := c.stepOptions(spec)
		p, err := native.Compile(spec.Network, o)
		if err != nil {
			t.Fatal(err)
		}
		return taken(p)
	}
	whole := cost(4)
	for limit, want := range map[int64]string{
		whole:       "",
		cost(2):     "training goes on with batch 2 and patch [32 20 16]",
		memoryBase:  "error",
		cost(1) - 1: "training goes on with batch 1",
	} {
		r := ballRequest(t, 4, 1)
		r.Config.Steps, r.Config.Batch, r.Config.Patch, r.Config.MemoryBytes = 4, 4, [3]int{32, 20, 16}, limit
		res, err := newTrainer(t, &balls{}).Train(t.Context(), r, func(Event) {})
		if want == "error" {
			if fault.KindOf(err) != fault.TooLarge || !strings.Contains(err.Error(), "memory") {
				t.Errorf("%d bytes: %v", limit, err)
			}
			continue
		}
		if got := strings.Join(res.Warnings, "; "); err != nil || want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%d bytes: warnings %q instead of %q, %v", limit, got, want, err)
		}
	}
}

// Before anything is made smaller, what does not fit computes parts twice.
func TestRecomputationSavesTheBatch(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(testkit.Shared(t, "golden", "networks", "dints"), "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	network, err := onnx.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	o := native.Options{Shape: []int64{1, 1, 64, 64, 64}}
	whole, err := native.Compile(network, o)
	if err != nil {
		t.Fatal(err)
	}
	var warnings []string
	e := &engine{spec: Spec{Network: network}, warn: func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }}
	e.c.MemoryBytes = taken(whole)
	if p, err := e.compile(o); err != nil || p.Memory() != whole.Memory() || warnings != nil {
		t.Errorf("it fits, and still: %v, %q", err, warnings)
	}
	e.c.MemoryBytes = taken(whole) * 9 / 10
	p, err := e.compile(o)
	if err != nil || taken(p) > e.c.MemoryBytes || len(warnings) != 1 || !strings.Contains(warnings[0], "computed twice") {
		t.Errorf("%v, %q", err, warnings)
	}
	e.c.MemoryBytes = taken(whole) / 2
	if _, err := e.compile(o); !errors.Is(err, errMemory) {
		t.Errorf("half of the memory: %v", err)
	}
}

// A disk that is full while a checkpoint is written costs the checkpoint only.
func TestDiskFullAtCheckpoint(t *testing.T) {
	r := ballRequest(t, 4, 1)
	r.Config.Steps = 40
	full := errors.Join(&fs.PathError{Op: "write", Path: "/secret/place", Err: syscall.ENOSPC})
	n := newTrainer(t, &balls{})
	writes := 0
	n.write = func(path string, c checkpoint) error {
		if writes++; writes > 1 {
			return diskFault(full, "the checkpoint could not be written")
		}
		return c.write(path)
	}
	report, events := collect()
	res, err := n.Train(t.Context(), r, report)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], "disk is full") || strings.Contains(res.Warnings[0], "secret") {
		t.Errorf("warnings %q", res.Warnings)
	}
	if c := ofKind(*events, Checkpoint); len(c) != 1 || c[0].Step != 0 {
		t.Errorf("checkpoints %+v", c)
	}
	if res.Mean == 0 {
		t.Error("the best model was lost")
	}
}

// Where the model itself cannot be written, the error says so and the last
// checkpoint is there.
func TestDiskFullAtTheEnd(t *testing.T) {
	r := ballRequest(t, 4, 1)
	r.Config.Steps = 10
	parent := t.TempDir()
	r.Out = filepath.Join(parent, "out")
	n := newTrainer(t, &balls{})
	n.publishing = func() error { return &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC} }
	_, err := n.Train(t.Context(), r, func(Event) {})
	if fault.KindOf(err) != fault.NoSpace {
		t.Errorf("error %v", err)
	}
	if left := names(t, parent); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	n = newTrainer(t, &balls{})
	stepped := 0
	n.wrap = func(s stepper) stepper { return counting{s, &stepped} }
	if _, err := n.Train(t.Context(), r, func(Event) {}); err != nil || stepped != 0 {
		t.Errorf("after making room %d steps were made again: %v", stepped, err)
	}
}

type counting struct {
	stepper
	n *int
}

func (c counting) Run(ctx context.Context, b batch, p native.Pace) (float64, error) {
	*c.n++
	return c.stepper.Run(ctx, b, p)
}

func TestWorkFolder(t *testing.T) {
	r := ballRequest(t, 4, 1)
	r.Config.Steps = 30
	stopAt(t, r, 12)

	other := r
	other.Config.Seed++
	if _, err := newTrainer(t, &balls{}).Train(t.Context(), other, func(Event) {}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("another request in the same work folder: %v", err)
	}
	held, err := openWork(r.Work)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newTrainer(t, &balls{}).Train(t.Context(), r, func(Event) {}); fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "another training") {
		t.Errorf("a work folder in use: %v", err)
	}
	if err := held.close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(r.Work, lastFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	res, err := newTrainer(t, &balls{}).Train(t.Context(), r, func(Event) {})
	if err != nil || len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], "damaged") {
		t.Errorf("a damaged checkpoint: %v, %q", err, res.Warnings)
	}
	stepped := 0
	n := newTrainer(t, &balls{})
	n.wrap = func(s stepper) stepper { return counting{s, &stepped} }
	again, err := n.Train(t.Context(), r, func(Event) {})
	if err != nil || stepped != 0 || again.Mean != res.Mean {
		t.Errorf("a training that was done was done again: %v, %d steps", err, stepped)
	}
	if _, err := n.Train(t.Context(), other, func(Event) {}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("another request for the same folder: %v", err)
	}
}

func badCase(id, what string) error {
	return fault.New(fault.Invalid, "case %s: %s", id, what)
}
