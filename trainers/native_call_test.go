package trainers

import (
	"bytes"
	"context"
	"errors"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/trainers/native"
)

// watched notes how many steps each call makes and may spoil some of them.
type watched struct {
	stepper
	calls *[]int
	bad   func(index int) bool
	took  *[]time.Duration // of every call; nil: not noted
}

func (s watched) Run(ctx context.Context, b batch, p native.Pace) (float64, error) {
	*s.calls = append(*s.calls, 1)
	return s.stepper.Run(ctx, s.spoilt(b, 1), p)
}

func (s watched) RunMany(ctx context.Context, b batch, paces []native.Pace) ([]float64, error) {
	*s.calls = append(*s.calls, len(paces))
	begin := time.Now()
	losses, err := s.stepper.RunMany(ctx, s.spoilt(b, len(paces)), paces)
	if s.took != nil {
		*s.took = append(*s.took, time.Since(begin))
	}
	return losses, err
}

// spoilt makes bad those of n batches that are to be.
func (s watched) spoilt(b batch, n int) batch {
	for i := range n {
		if s.bad != nil && s.bad(b.index+i) {
			b.images = slices.Clone(b.images)
			b.images[i*len(b.images)/n] = float32(math.NaN())
		}
	}
	return b
}

// TestStepsPerCall: several steps in one call make the network of one at a time,
// skipped steps included, and no call goes past a validation.
func TestStepsPerCall(t *testing.T) {
	var networks [][]byte
	var calls [2][]int
	var epochs [2][]EpochRecord
	for i, n := range []int{1, 4} {
		r := ballRequest(t, 4, 1)
		r.Config.Steps, r.Config.StepsPerEpoch, r.Config.ValidateEvery, r.Config.StepsPerCall = 22, 6, 1, n
		trainer := newTrainer(t, &balls{})
		trainer.wrap = func(s stepper) stepper {
			return watched{stepper: s, calls: &calls[i], bad: func(k int) bool { return k == 8 }}
		}
		res, err := trainer.Train(t.Context(), r, func(Event) {})
		if err != nil {
			t.Fatal(err)
		}
		networks = append(networks, readFile(t, filepath.Join(res.Model, "model.onnx")))
		rec, err := ReadRecord(res.Model)
		if err != nil || rec.Skipped != 1 {
			t.Fatalf("%d skipped, %v", rec.Skipped, err)
		}
		for _, e := range rec.Epochs {
			e.Seconds = 0
			epochs[i] = append(epochs[i], e)
		}
	}
	if !bytes.Equal(networks[0], networks[1]) {
		t.Error("four steps in a call make another network than one")
	}
	// Validations after 6, 12, 18 and 22 steps; step 8 (from 0) is not finite.
	if want := []int{4, 2, 4, 3, 4, 2, 4}; !slices.Equal(calls[1], want) {
		t.Errorf("calls of %v steps, want %v", calls[1], want)
	}
	if len(calls[0]) != 22 {
		t.Errorf("%d calls of one step", len(calls[0]))
	}
	if len(epochs[0]) != 4 || !reflect.DeepEqual(epochs[0], epochs[1]) {
		t.Errorf("epochs %+v and %+v", epochs[0], epochs[1])
	}
}

// TestStepsPerCallResume: a training that was stopped after a call ends in the
// network of one that nobody stopped.
func TestStepsPerCallResume(t *testing.T) {
	r := ballRequest(t, 4, 1)
	r.Config.Steps, r.Config.StepsPerCall = 20, 3
	whole, err := newTrainer(t, &balls{}).Train(t.Context(), r, func(Event) {})
	if err != nil {
		t.Fatal(err)
	}
	want := readFile(t, filepath.Join(whole.Model, "model.onnx"))
	other := ballRequest(t, 4, 1)
	other.Config = r.Config
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := newTrainer(t, &balls{})
	var calls []int
	n.wrap = func(s stepper) stepper {
		return watched{stepper: s, calls: &calls, bad: func(int) bool {
			if len(calls) == 3 { // the third call is under way
				cancel()
			}
			return false
		}}
	}
	if _, err = n.Train(ctx, other, func(Event) {}); fault.KindOf(err) != fault.Canceled || len(calls) != 3 {
		t.Fatalf("stopped after %d calls: %v", len(calls), err)
	}
	res, err := newTrainer(t, &balls{}).Train(t.Context(), other, func(Event) {})
	if err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, filepath.Join(res.Model, "model.onnx")); !bytes.Equal(got, want) {
		t.Error("the resumed training made another network")
	}
}

// TestStepsPerCallAndMinutes: the pace is that of a step, not of a call.
func TestStepsPerCallAndMinutes(t *testing.T) {
	r := ballRequest(t, 4, 0)
	r.Config.Steps, r.Config.Minutes, r.Config.StepsPerCall = 0, 0.05, 8
	var calls []int
	var took []time.Duration
	n := newTrainer(t, &balls{})
	n.wrap = func(s stepper) stepper { return watched{stepper: s, calls: &calls, took: &took} }
	res, err := n.Train(t.Context(), r, func(Event) {})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := ReadRecord(res.Model)
	if err != nil {
		t.Fatal(err)
	}
	// All steps at the pace of the first calls: near the budget of 3 seconds. An
	// eighth of it would be planned if a call counted as a step.
	first := took[:min(len(took), warmSteps+leastMeasured)]
	slices.Sort(first)
	planned := time.Duration(rec.Plan.Steps) * first[len(first)/2] / 8
	if calls[0] != 8 || planned < time.Second || planned > 9*time.Second {
		t.Errorf("calls of %d, %d steps, %s of calls for a budget of 3 s", calls[0], rec.Plan.Steps, planned)
	}
}

// overflowing lets some steps overflow.
type overflowing struct {
	stepper
	at    func(index int) bool
	rates *[]float64
}

func (s overflowing) Run(ctx context.Context, b batch, p native.Pace) (float64, error) {
	*s.rates = append(*s.rates, p.Rate)
	if s.at(b.index) {
		return 1, native.ErrOverflow
	}
	return s.stepper.Run(ctx, b, p)
}

// TestOverflowInHalfPrecision: steps that overflow are skipped without a warning
// or a lower rate, until it is too many.
func TestOverflowInHalfPrecision(t *testing.T) {
	for _, c := range []struct {
		name string
		at   func(i int) bool
		ok   bool
	}{
		{"some", func(i int) bool { return i < 12 || i == 20 }, true},
		{"all", func(int) bool { return true }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ballRequest(t, 4, 1)
			r.Config.Steps, r.Config.Schedule = 80, ScheduleConfig{Name: "constant", WarmUp: -1}
			var rates []float64
			n := newTrainer(t, &balls{})
			n.wrap = func(s stepper) stepper { return overflowing{s, c.at, &rates} }
			res, err := n.Train(t.Context(), r, func(Event) {})
			if slices.ContainsFunc(rates, func(v float64) bool { return v != rates[0] }) {
				t.Errorf("the rate changed: %v", rates)
			}
			if !c.ok {
				if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "half precision in 60 steps") || len(rates) != 60 {
					t.Errorf("after %d steps: %v", len(rates), err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			rec, err := ReadRecord(res.Model)
			if err != nil || rec.Skipped != 13 || len(rec.Warnings) > 0 {
				t.Errorf("%d skipped, warnings %v, %v", rec.Skipped, rec.Warnings, err)
			}
		})
	}
}

// TestCardThatIsNotThere: a training on a card is refused before a case is read
// where none can be used, and so is mixed precision on the CPU.
func TestCardThatIsNotThere(t *testing.T) {
	d := &balls{broken: map[string]error{"1": errors.New("a case was read")}}
	r := ballRequest(t, 3, 1)
	r.Device = "cuda"
	if _, err := newTrainer(t, d).Train(t.Context(), r, func(Event) {}); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "cuda") {
		t.Errorf("cuda: %v", err)
	}
	r = ballRequest(t, 3, 1)
	r.Config.Precision = PrecisionMixed
	if _, err := newTrainer(t, d).Train(t.Context(), r, func(Event) {}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "needs device cuda") {
		t.Errorf("mixed precision on the CPU: %v", err)
	}
	for _, c := range []Config{
		{StepsPerCall: 2, Accumulate: 2},
		{StepsPerCall: 2, EMA: 0.9},
		{StepsPerCall: 257},
		{StepsPerCall: -1},
		{Precision: "half"},
	} {
		if err := c.Validate(); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestSuited: lanes on the CPU, several steps per call on a card.
func TestSuited(t *testing.T) {
	shape := []int64{2, 1, 8, 8, 8}
	for _, c := range []struct {
		device        string
		config        Config
		o             native.Options
		lanes, repeat int
	}{
		{"cpu", Config{}, native.Options{Shape: shape}, 2, 0},
		{"cpu", Config{StepsPerCall: 3}, native.Options{Shape: shape}, 0, 3},
		{"cuda", Config{}, native.Options{Shape: shape}, 0, usualPerCall},
		{"cuda", Config{StepsPerCall: 1}, native.Options{Shape: shape}, 0, 1},
		{"cuda", Config{}, native.Options{Shape: shape, Accumulate: 2}, 0, 0},
		{"cuda", Config{}, native.Options{Shape: shape, Average: native.Averaging{Decay: 0.9}}, 0, 0},
	} {
		e := &engine{device: c.device, threads: 2, c: c.config}
		if got := e.suited(c.o); got.Lanes != c.lanes || got.Repeat != c.repeat {
			t.Errorf("%s %+v: %d lanes and %d steps per call, want %d and %d", c.device, c.config, got.Lanes, got.Repeat, c.lanes, c.repeat)
		}
	}
}
