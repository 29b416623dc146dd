package apps

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/trainers"
)

// wanted is what a request for a training asks for.
type wanted struct {
	name    string // of the run, for people
	device  string // as asked for; "": the trainer's default
	config  trainers.Config
	ignored []string // keys of the reference that mean nothing here
}

// The defaults of a training that a client starts, as the reference's.
const (
	defaultRun    = "train_01"
	defaultEpochs = 50
	defaultSplit  = 0.2
	defaultBatch  = 1
)

// trainingForm is the form of options that clients show: the reference's, as
// far as they do something here, and ours.
func trainingForm(devices []string) *ordered.Map {
	return ordered.Of(
		"name", defaultRun, "pretrained", true, "device", devices, "max_epochs", defaultEpochs, "early_stop_patience", -1,
		"val_split", defaultSplit, "train_batch_size", defaultBatch, "minutes", 0, "seed", 0,
	)
}

// meaningless are options of the reference that a request may carry.
var meaningless = []string{
	"val_batch_size", "multi_gpu", "gpus", "dataset", "dataloader", "tracking", "tracking_uri", "tracking_experiment_name", "local_rank",
}

const maxRunName = 100 // bytes

// parseTraining reads the body of a request for a training. A value of the
// wrong type or out of range is fault.Missing, naming the key; keys without a
// meaning are left alone. config is an object with keys of trainers.Config; the
// named options win over it.
func parseTraining(p *ordered.Map) (wanted, error) {
	w := wanted{name: defaultRun}
	base := p.Sub("config")
	if v := value(p, "config"); v != nil && base == nil {
		return w, fault.New(fault.Missing, "config must be an object")
	}
	if base != nil {
		text, err := ordered.Marshal(base)
		if err != nil {
			return w, fault.Wrap(fault.Internal, err, "config cannot be read")
		}
		if w.config, err = trainers.ParseConfig(text); err != nil {
			msg, _ := fault.Message(err)
			return w, fault.Wrap(fault.Missing, err, "config: %s", msg)
		}
	}
	r := formReader{p: p}
	w.read(&r)
	if r.err != nil {
		return w, r.err
	}
	for _, k := range meaningless {
		if _, ok := p.Get(k); ok {
			w.ignored = append(w.ignored, k)
		}
	}
	return w, nil
}

func (w *wanted) read(r *formReader) {
	c := &w.config
	w.name = r.text("name", w.name)
	w.device = strings.ToLower(r.text("device", ""))
	if r.has("pretrained") || c.From == "" {
		c.From = trainers.FromModel
		if !r.flag("pretrained", true) {
			c.From = trainers.FromScratch
		}
	}
	if n, ok := r.count("early_stop_patience", -1, math.MaxInt32); ok {
		c.Patience = max(n, 0)
	}
	if n, ok := r.count("train_batch_size", 1, 4096); ok || c.Batch == 0 {
		c.Batch = max(n, defaultBatch)
	}
	if n, ok := r.count("seed", 0, math.MaxInt64); ok {
		c.Seed = uint64(n) //nolint:gosec // not negative
	}
	if f, ok := r.number("val_split", 0, 0.95); ok || c.ValSplit == 0 {
		switch {
		case !ok:
			c.ValSplit = defaultSplit
		case f == 0:
			c.ValSplit = -1 // none; 0 would be the default
		default:
			c.ValSplit = f
		}
	}
	w.length(r)
}

// length sets how long the training is: minutes, else epochs.
func (w *wanted) length(r *formReader) {
	c := &w.config
	minutes, _ := r.number("minutes", 0, 60*24*365)
	epochs, given := r.count("max_epochs", 1, 1_000_000)
	switch {
	case minutes > 0:
		c.Steps, c.Epochs, c.Minutes = 0, 0, minutes
	case given:
		c.Steps, c.Epochs, c.Minutes = 0, epochs, 0
	case c.Steps == 0 && c.Epochs == 0 && c.Minutes == 0:
		c.Epochs = defaultEpochs
	}
}

// formReader reads options as forms send them: numbers may be text. null and
// the empty text count as absent. The first mistake is kept.
type formReader struct {
	p   *ordered.Map
	err error
}

func (r *formReader) get(key string) (any, bool) {
	v := value(r.p, key)
	if s, ok := v.(string); v == nil || ok && strings.TrimSpace(s) == "" {
		return nil, false
	}
	return v, true
}

func (r *formReader) has(key string) bool { _, ok := r.get(key); return ok }

func (r *formReader) wrong(key, want string) {
	if r.err == nil {
		r.err = fault.New(fault.Missing, "%s must be %s", key, want)
	}
}

// text reads a text; of a list, which is how a form offers a choice, the first.
func (r *formReader) text(key, def string) string {
	v, ok := r.get(key)
	if !ok {
		return def
	}
	if list, isList := v.([]any); isList && len(list) > 0 {
		v = list[0]
	}
	s, isText := v.(string)
	if !isText || len(s) > maxRunName || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		r.wrong(key, "a text of at most "+strconv.Itoa(maxRunName)+" bytes on one line")
		return def
	}
	return s
}

func (r *formReader) flag(key string, def bool) bool {
	v, ok := r.get(key)
	if !ok {
		return def
	}
	if _, isText := v.(string); !isText {
		if _, isBool := v.(bool); !isBool {
			if _, isNumber := v.(json.Number); !isNumber {
				r.wrong(key, "true or false")
				return def
			}
		}
	}
	return truthy(v)
}

func (r *formReader) number(key string, low, high float64) (float64, bool) {
	v, ok := r.get(key)
	if !ok {
		return 0, false
	}
	f, isNumber := asFloat(v)
	if !isNumber || math.IsNaN(f) || f < low || f > high {
		r.wrong(key, "a number from "+short(low)+" to "+short(high))
		return 0, false
	}
	return f, true
}

func (r *formReader) count(key string, low, high int) (int, bool) {
	f, ok := r.number(key, float64(low), float64(high))
	if !ok {
		return 0, false
	}
	if f != math.Trunc(f) || f >= 1<<62 {
		r.wrong(key, "a whole number")
		return 0, false
	}
	return int(f), true
}

func short(f float64) string { return strconv.FormatFloat(f, 'g', 6, 64) }

// chooseDevice returns the device of a training and what to say about it where
// it is not the one asked for: clients that were made for the reference ask for
// cuda on any machine, and the reference falls back, too.
func (t trainer) chooseDevice(asked string) (device, note string) {
	asked = strings.TrimSpace(asked)
	if i := strings.IndexByte(asked, ':'); i > 0 {
		asked = asked[:i] // cuda:0
	}
	switch {
	case asked == "" || slices.Contains(t.devices, asked):
		if asked == "" {
			asked = t.devices[0]
		}
		return asked, ""
	}
	return t.devices[0], "device " + strconv.Quote(clip(asked)) + " is not one of " + strings.Join(t.devices, ", ") + "; training on " + t.devices[0]
}
