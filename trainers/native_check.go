package trainers

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ort"
)

// The files of a model folder that a trainer knows.
const (
	networkFile  = "model.onnx"
	manifestFile = "manifest.yaml"
	recordFile   = "training.json"
)

var errTaken = fault.New(fault.Conflict, "the folder for the trained model exists already; nothing was changed")

func isRecord(name string) bool {
	info, err := os.Lstat(name)
	return err == nil && info.Mode().IsRegular()
}

// made returns what an earlier run of the same request made, and false where
// nothing is there. A model of another request is a conflict.
func (r *Request) made(hash string) (Result, bool, error) {
	if _, err := os.Lstat(r.Out); errors.Is(err, fs.ErrNotExist) {
		return Result{}, false, nil
	}
	rec, err := ReadRecord(r.Out)
	if err != nil || rec.Request != hash {
		return Result{}, false, errTaken
	}
	return rec.result(r.Out), true, nil
}

// check reports the first thing that is wrong with a request by itself.
func (r *Request) check() error {
	switch {
	case r.Protocol != ProtocolVersion:
		return fault.New(fault.Invalid, "the training request has protocol %d; this program speaks %d", r.Protocol, ProtocolVersion)
	case r.Model == "" || r.Out == "" || r.Work == "":
		return fault.New(fault.Missing, "the training request needs model, out and work: three folders")
	case r.Threads < 0:
		return fault.New(fault.Invalid, "the training request has %d threads", r.Threads)
	}
	for _, name := range []string{networkFile, manifestFile} {
		if _, err := os.Stat(filepath.Join(r.Model, name)); err != nil {
			return fault.Wrap(fault.NotFound, err, "the model folder to start from has no %s", name)
		}
	}
	if _, err := os.Lstat(r.Out); !errors.Is(err, fs.ErrNotExist) && !isRecord(filepath.Join(r.Out, recordFile)) {
		return errTaken
	}
	switch r.Device {
	case "", ort.CPU:
		if r.Config.Precision == PrecisionMixed {
			return fault.New(fault.Invalid, "precision mixed needs device cuda: the CPU provider has no products in half precision")
		}
	case ort.CUDA:
	default:
		return fault.New(fault.Invalid, "device %q is neither cpu nor cuda", r.Device)
	}
	if err := r.checkCases(); err != nil {
		return err
	}
	return r.Config.Validate()
}

func (r *Request) checkCases() error {
	seen, training := map[string]bool{}, false
	for _, c := range r.Cases {
		switch {
		case c.ID == "" || len(c.Images) == 0:
			return fault.New(fault.Invalid, "a case of the training request has no id or no images")
		case seen[c.ID]:
			return fault.New(fault.Invalid, "case %s is there twice", c.ID)
		case c.Role != Train && c.Role != Validate:
			return fault.New(fault.Invalid, "case %s: role %q is neither %s nor %s", c.ID, c.Role, Train, Validate)
		}
		seen[c.ID] = true
		training = training || c.Role == Train
	}
	if !training {
		return fault.New(fault.Invalid, "there are no cases to train on: label some images first")
	}
	return nil
}

// usable is what is left of a request's cases after a look at each.
type usable struct {
	train, validate []Case
	out             []LeftOut
	warnings        []string
}

// LeftOut is a case that could not be used.
type LeftOut struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

// verdict is what was found about one case.
type caseVerdict struct {
	reason string // why it cannot be used
	empty  bool   // it has no foreground
}

// inspect loads every case once. Those that cannot be used are left out with a
// warning that names them; it is an error when none is left to train on.
func inspect(ctx context.Context, data Data, r Request, ev *events) (usable, error) {
	verdicts := make([]caseVerdict, len(r.Cases))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(r.Config.Workers, defaultWorkers))
	for i, c := range r.Cases {
		g.Go(func() error {
			v, err := look(gctx, data, c)
			verdicts[i] = v
			return err
		})
	}
	var u usable
	if err := g.Wait(); err != nil {
		return u, err
	}
	for i, c := range r.Cases {
		v := verdicts[i]
		switch {
		case v.reason != "":
			u.out = append(u.out, LeftOut{c.ID, v.reason})
			u.warnings = append(u.warnings, ev.warn("left out: %s", v.reason))
			continue
		case v.empty:
			u.warnings = append(u.warnings, ev.warn("case %s has no foreground: its label map is empty", c.ID))
		}
		if c.Role == Validate {
			u.validate = append(u.validate, c)
		} else {
			u.train = append(u.train, c)
		}
	}
	if len(u.train) == 0 {
		return u, fault.New(fault.Invalid, "none of the cases can be trained on; the first one: %s", u.out[0].Reason)
	}
	if len(u.validate) == 0 && !(r.Config.Keep == KeepLast && r.Config.ValSplit < 0) { // nobody asked for less
		u.warnings = append(u.warnings, ev.warn("there are no cases for validation: the last model is kept, and nothing says how good it is"))
	}
	return u, nil
}

// look loads one case. Faults of the case itself are no errors.
func look(ctx context.Context, data Data, c Case) (caseVerdict, error) {
	if c.Label == "" {
		return caseVerdict{reason: "case " + c.ID + " has no label"}, nil
	}
	s, err := data.Load(ctx, c)
	if err != nil {
		if reason, ok := caseFault(ctx, err); ok {
			return caseVerdict{reason: reason}, nil
		}
		return caseVerdict{}, err
	}
	for _, v := range s.Labels {
		if v != 0 {
			return caseVerdict{}, nil
		}
	}
	return caseVerdict{empty: true}, nil
}
