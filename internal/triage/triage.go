// Package triage ranks the images of a folder once, without a server: every
// image is looked at by a model, a strategy puts them in order, and the ranking
// is written as CSV, JSON and an HTML page with pictures.
package triage

import (
	"context"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/strategies"
)

// Image is one of a folder.
type Image struct {
	ID       string
	Files    []string // the channels in order
	Labelled bool     // it has a label: it is no candidate, but others are compared with it
}

// Looked is what a look at an image has shown.
type Looked struct {
	Observation *strategies.Observation
	Picture     *Picture // nil: none is wanted
}

// Options say what is ranked and how.
type Options struct {
	Images []Image
	Model  string
	Spec   strategies.Spec
	Seed   uint64
	// Look looks at an image with the model.
	Look func(ctx context.Context, img Image) (*Looked, error)
	// Done is told how many images of how many have been looked at; may be nil.
	Done func(done, of int)
}

// Row is an image in its place.
type Row struct {
	Rank        int
	Image       Image
	Explanation *strategies.Explanation
	Observation *strategies.Observation
	Picture     *Picture
}

// Skip is an image that was left out.
type Skip struct {
	ID  string `json:"id"`
	Why string `json:"why"`
}

// Report is a finished ranking.
type Report struct {
	Model, Version string
	Strategy       *ordered.Map // name and parameters
	Passes         string       // "8 of tta"
	Aggregation    string
	Time           time.Time
	Labelled       int
	Rows           []Row
	Skipped        []Skip
}

// Run looks at the images and ranks those without a label. An image that cannot
// be looked at is skipped and named; when there is none that can, the last
// reason is the error.
func Run(ctx context.Context, o Options) (*Report, error) {
	x := strategies.Open(strategies.Options{ColdStart: -1, Seed: o.Seed})
	s, err := strategies.New(x, o.Spec)
	if err != nil {
		return nil, err
	}
	r := &Report{Model: o.Model, Time: time.Now(), Strategy: ordered.Of("name", s.Name())}
	if c, ok := s.(strategies.Configured); ok {
		r.Strategy.Merge(c.Parameters())
	}
	x.UseModel(o.Model)
	looked := make(map[string]*Looked, len(o.Images))
	byID := make(map[string]Image, len(o.Images))
	candidates := 0
	var last error
	for i, img := range o.Images {
		l, err := o.Look(ctx, img)
		if ctx.Err() != nil {
			return nil, fault.Wrap(fault.Canceled, ctx.Err(), "the ranking was stopped")
		}
		if err != nil {
			r.Skipped, last = append(r.Skipped, Skip{img.ID, reason(err)}), err
		} else if err := r.add(x, img, l.Observation); err != nil {
			return nil, err
		} else {
			looked[img.ID], byID[img.ID] = l, img
			if !img.Labelled {
				candidates++
			}
		}
		if o.Done != nil {
			o.Done(i+1, len(o.Images))
		}
	}
	switch {
	case len(looked) == 0 && last != nil:
		return nil, last
	case candidates == 0:
		return nil, fault.New(fault.NotFound, "there is no image without a label to rank")
	}
	picks, err := strategies.Batch(ctx, s, strategies.Request{Client: "triage"}, candidates)
	if err != nil {
		return nil, err
	}
	for i, p := range picks {
		l := looked[p.ID]
		r.Rows = append(r.Rows, Row{Rank: i + 1, Image: byID[p.ID], Explanation: p.Explanation, Observation: l.Observation, Picture: l.Picture})
	}
	return r, nil
}

// add gives a look to the index.
func (r *Report) add(x *strategies.Index, img Image, ob *strategies.Observation) error {
	if r.Version == "" {
		r.Version, r.Aggregation = ob.Version, ob.Aggregation
		r.Passes = passes(ob)
		x.Serve(r.Model, ob.Version, 0)
	}
	if img.Labelled {
		r.Labelled++
	}
	x.Handle(strategies.Event{ID: img.ID, Labelled: img.Labelled})
	return x.Put(ob)
}

func reason(err error) string {
	if msg, ok := fault.Message(err); ok {
		return msg
	}
	return err.Error()
}
