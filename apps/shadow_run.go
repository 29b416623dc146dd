package apps

import (
	"context"
	"errors"
	"time"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
)

// stand is the candidate that is loaded for the shadow.
type stand struct {
	model, version string
	pipeline       *infer.Pipeline
	network        *infer.Evaluator
}

func (s *stand) close() error {
	if s.network == nil {
		return nil
	}
	n := s.network
	*s = stand{}
	return n.Close()
}

// run works off live cases until ctx ends.
func (s *shadows) run(ctx context.Context) {
	var now stand
	defer func() { _ = now.close() }() // nothing can be done about it
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-s.work:
			s.case1(ctx, &now, p)
		case <-tick.C:
			if now.network != nil && s.wanted(proposed{model: infer.Info{Name: now.model, Version: s.against(now.model)}}) != now.version {
				if err := now.close(); err != nil {
					s.log.Warn("a candidate of the shadow cannot be freed", "err", err)
				}
			}
		}
	}
}

func (s *shadows) against(model string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.now[model]; x != nil {
		return x.Against
	}
	return ""
}

var errNotNow = errors.New("the server is never idle")

// case1 runs the candidate on one case, in as many turns as it takes.
func (s *shadows) case1(ctx context.Context, now *stand, p proposed) {
	version := s.wanted(p)
	if version == "" {
		return
	}
	for range shadowTries {
		c := &ShadowCase{Image: p.image, Time: time.Now().UTC()}
		gave, err := s.app.background.yield(ctx, false, func(ctx context.Context) error {
			if s.app.gate.now.Load() > 0 {
				return errNotNow // a turn by patience is for work that must come to an end
			}
			return s.compare(ctx, now, p, version, c)
		})
		switch {
		case ctx.Err() != nil:
			return
		case gave:
			continue
		case errors.Is(err, errNotNow):
			s.add(p.model.Name, version, nil)
			return
		case err != nil:
			c.Error = "the case could not be segmented"
			if msg, ok := fault.Message(err); ok {
				c.Error = msg
			}
		}
		s.add(p.model.Name, version, c)
		return
	}
	s.add(p.model.Name, version, nil)
}

// compare segments the image with the candidate and compares with what the
// version in service answered.
func (s *shadows) compare(ctx context.Context, now *stand, p proposed, version string, c *ShadowCase) error {
	if err := s.open(ctx, now, p.model.Name, version); err != nil {
		return err
	}
	img, err := s.app.usable(p.image)
	if err != nil {
		return err
	}
	var in infer.Input
	if in.Volumes, err = s.app.readImage(ctx, source{id: img.ID, files: img.Files, what: "the image", ext: img.Ext}); err != nil {
		return err
	}
	begin := time.Now()
	found, err := now.network.Run(ctx, in, p.o)
	if err != nil {
		return err
	}
	c.Seconds = time.Since(begin).Seconds()
	names := translate(found, now.pipeline.Classes(), p.values)
	shown := p.labels.labels()
	if found.Size != shown.Size {
		return fault.New(fault.Invalid, "both answers lie on different grids")
	}
	c.Dice, c.Mean, err = agreement(ctx, found, shown, names)
	return err
}

// translate gives the classes of a label map the values that they have in the
// answer of the version in service, by their names; others get values of their
// own. It returns the names of all values.
func translate(l *imaging.LabelMap, classes []infer.CaseClass, values map[int]string) map[int]string {
	names, by, next := map[int]string{}, map[string]int{}, 1
	for v, name := range values {
		names[v], by[name] = name, v
		next = max(next, v+1)
	}
	to := map[uint16]uint16{}
	for _, c := range classes {
		v, ok := by[c.Name]
		if !ok {
			v, names[next] = next, c.Name
			next++
		}
		to[uint16(c.Value)] = uint16(v) //nolint:gosec // the manifest bounds both
	}
	for i, v := range l.Data {
		l.Data[i] = to[v] // 0 stays 0
	}
	return names
}

// open loads the candidate unless it is there.
func (s *shadows) open(ctx context.Context, now *stand, model, version string) error {
	if now.network != nil && now.model == model && now.version == version {
		return nil
	}
	if err := now.close(); err != nil {
		return err
	}
	e, err := s.app.versions()
	if err != nil {
		return err
	}
	all, err := e.Versions(model)
	if err != nil {
		return err
	}
	for _, v := range all {
		if v.ID != version {
			continue
		}
		fsys, err := s.app.versionFS(model, v)
		if err != nil {
			return err
		}
		p, err := infer.OpenPipeline(fsys, infer.PipelineOptions{MaxVoxels: s.app.opts.Limits.MaxVoxels})
		if err != nil {
			return err
		}
		rt, err := s.app.loop.runtime(ctx)
		if err != nil {
			return err
		}
		n, err := p.Evaluator(ctx, rt, p.Network(), s.app.opts.Threads)
		if err != nil {
			return err
		}
		*now = stand{model: model, version: version, pipeline: p, network: n}
		return nil
	}
	return fault.New(fault.NotFound, "version %s of model %s is not there any more", version, model)
}
