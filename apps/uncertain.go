package apps

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/internal/uncertainty"
	"github.com/voxloop/voxloop/strategies"
)

// uncertainWishes are the params that ask how sure the model is.
type uncertainWishes struct {
	rules LookRules
	Map   string // the voxel map that is sent in place of the label; "": none
}

// parseUncertain reads them; nil when nothing is asked.
func parseUncertain(p *ordered.Map) (*uncertainWishes, error) {
	v := value(p, "uncertainty")
	if v == nil || v == "" || v == false {
		return nil, nil
	}
	var o SelectionOptions
	var ok bool
	if o.Sampling, ok = v.(string); !ok || !slices.Contains(Samplings(), o.Sampling) {
		return nil, fault.New(fault.Missing, "params.uncertainty must be one of %q", Samplings())
	}
	w := &uncertainWishes{}
	if v := value(p, "passes"); v != nil {
		n, ok := asFloat(v)
		if o.Passes = int(n); !ok || float64(o.Passes) != n || n < 2 || n > uncertainty.MaxPasses {
			return nil, fault.New(fault.Missing, "params.passes must be a whole number from 2 to %d", uncertainty.MaxPasses)
		}
	}
	if v := value(p, "seed"); v != nil {
		n, ok := asFloat(v)
		if !ok || n < 0 || n != float64(uint64(n)) {
			return nil, fault.New(fault.Missing, "params.seed must be a whole number from 0 on")
		}
		o.Seed = uint64(n)
	}
	if v := value(p, "flips"); v != nil {
		list, ok := v.([]any)
		for _, f := range list {
			s, isText := f.(string)
			o.Flips, ok = append(o.Flips, s), ok && isText
		}
		if !ok {
			return nil, fault.New(fault.Missing, `params.flips must be a list of axes such as ["", "x", "xy"]`)
		}
	}
	if v := value(p, "map"); v != nil && v != "" {
		if w.Map, ok = v.(string); !ok || !slices.Contains(infer.Maps(), w.Map) {
			return nil, fault.New(fault.Missing, "params.map must be one of %q", infer.Maps())
		}
	}
	var err error
	if w.rules, err = o.Rules(); err != nil {
		return nil, err
	}
	w.rules.Sampling.Features, w.rules.Sampling.Map = false, w.Map
	return w, nil
}

// measure is the inference of a run that also tells how sure the model is.
func (r *run) measure(ctx context.Context, in infer.Input) (*infer.Output, error) {
	w := r.wishes.uncertain
	engine, ok := r.app.engine.(measurer)
	if !ok {
		return nil, fault.New(fault.Unavailable, "params.uncertainty: this server's models cannot be measured")
	}
	begin := time.Now()
	m, err := engine.Measure(ctx, r.model.Name, in, r.wishes.options, w.rules.Sampling)
	if err != nil {
		return nil, err
	}
	if !m.Maps.Finite {
		return nil, fault.New(fault.Invalid, "params.uncertainty: the model's probabilities are no numbers; the image or the model is damaged")
	}
	r.seen, err = w.rules.Uncertainty(ctx, Seen{Image: r.src.id, Model: r.model.Name, Volume: in.Volumes[0], Measured: m, Took: time.Since(begin)})
	r.volume = m.Map
	return &m.Output, err
}

// Uncertainty is what clients and users are told of a measurement.
type Uncertainty struct {
	Sampling    string                         `json:"sampling"`
	Passes      int                            `json:"passes"`
	Aggregation string                         `json:"aggregation"` // top where no foreground was predicted
	Scores      map[strategies.Measure]float64 `json:"scores"`
	Uncertain   float64                        `json:"uncertain_mm3"` // volume whose entropy is high
	Regions     []strategies.Region            `json:"regions"`       // of high entropy, the most uncertain in total first
}

// Uncertainty sums a measurement up.
func (r LookRules) Uncertainty(ctx context.Context, s Seen) (*Uncertainty, error) {
	ob, err := r.sumUp(ctx, s, s.Volume.Affine, nil, "")
	if err != nil {
		return nil, err
	}
	u := &Uncertainty{
		Sampling: string(r.Passes), Passes: ob.Count, Aggregation: ob.Aggregation, Scores: ob.Scores, Uncertain: ob.Uncertain,
		Regions: append([]strategies.Region{}, ob.Regions...),
	}
	if ob.FellBack {
		u.Aggregation = string(uncertainty.TopShare)
	}
	return u, nil
}

// fileExt is the ending of the result's file: a voxel map is no segmentation.
func (r *run) fileExt(ext string) string {
	if r.volume != nil && ext == ".seg.nrrd" {
		return ".nrrd"
	}
	return ext
}

// encodeMap writes the voxel map.
func (r *run) encodeMap(w io.Writer, ext string) error {
	return codec.Write(w, ext, r.volume, codec.WriteOptions{Compress: r.wishes.compress})
}
