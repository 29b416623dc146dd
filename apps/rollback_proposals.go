package apps

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	overlap "github.com/voxloop/voxloop/internal/imaging/metrics"
)

const (
	proposalsBytes = 64 << 20 // of remembered proposals
	answersAhead   = 2        // answers whose label maps are held until they are remembered
	savedAhead     = 64       // saved labels that wait to be compared
)

// proposed is what a model answered about a stored image.
type proposed struct {
	model  infer.Info // that answered
	image  string
	labels *runs          // as the client got them
	values map[int]string // class by value in labels
	o      infer.Options
}

// answer is a proposal whose label map is not packed yet.
type answer struct {
	proposed
	full *imaging.LabelMap // is not changed any more
}

// newAnswer is the answer of a run whose label map is done; values are the
// manifest's value → written value, nil where both are the same.
func newAnswer(r *run, values map[uint16]uint16) *answer {
	names := map[int]string{}
	for _, l := range r.model.Labels {
		switch {
		case l.Value <= 0 || l.Value > math.MaxUint16:
		case values == nil:
			names[l.Value] = l.Name
		default:
			names[int(values[uint16(l.Value)])] = l.Name
		}
	}
	return &answer{proposed: proposed{model: r.model, image: r.src.id, values: names, o: r.wishes.options}, full: r.labels}
}

// proposals remembers the latest answer about each image until its label is
// saved, and then compares both. What does not fit or comes too fast is
// forgotten: nobody waits for it.
type proposals struct {
	app      *App
	log      *slog.Logger
	answered chan answer
	saved    chan string // ids of images
	found    func(proposed)
	compared func(model, version string, a accepted)
	wg       sync.WaitGroup

	// Of the one goroutine that works.
	kept  map[string]proposed
	order []string // ids, the oldest first
	bytes int
}

func newProposals(a *App, found func(proposed), compared func(model, version string, a accepted)) *proposals {
	return &proposals{
		app: a, log: a.log, found: found, compared: compared,
		answered: make(chan answer, answersAhead), saved: make(chan string, savedAhead), kept: map[string]proposed{},
	}
}

func (p *proposals) start(ctx context.Context) {
	p.wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case a := <-p.answered:
				p.remember(a)
			case id := <-p.saved:
				p.drain() // the proposal that was corrected came before its correction
				p.compare(ctx, id)
			}
		}
	})
}

// offer takes an answer if there is room for it.
func (p *proposals) offer(a answer) {
	select {
	case p.answered <- a:
	default:
	}
}

// label tells of a label that a person saved.
func (p *proposals) label(id string) {
	select {
	case p.saved <- id:
	default:
	}
}

func (p *proposals) drain() {
	for {
		select {
		case a := <-p.answered:
			p.remember(a)
		default:
			return
		}
	}
}

func (p *proposals) remember(a answer) {
	a.labels = runsOf(a.full)
	p.found(a.proposed)
	p.forget(a.image)
	if a.labels.bytes() > proposalsBytes {
		return
	}
	p.kept[a.image] = a.proposed
	p.order = append(p.order, a.image)
	for p.bytes += a.labels.bytes(); p.bytes > proposalsBytes; {
		p.forget(p.order[0])
	}
}

func (p *proposals) forget(id string) {
	k, ok := p.kept[id]
	if !ok {
		return
	}
	delete(p.kept, id)
	p.bytes -= k.labels.bytes()
	for i, o := range p.order {
		if o == id {
			p.order = append(p.order[:i:i], p.order[i+1:]...)
			return
		}
	}
}

// compare reads the label that was saved and compares it with what was proposed.
func (p *proposals) compare(ctx context.Context, id string) {
	k, ok := p.kept[id]
	if !ok {
		return
	}
	p.forget(id)
	img, err := p.app.store.Image(id)
	if err != nil {
		return
	}
	l, ok := img.Label(datastore.TagFinal)
	if !ok || l.GridMismatch {
		return
	}
	a, err := k.against(ctx, l.Path, p.app.codecLimits())
	if err != nil {
		if ctx.Err() == nil {
			p.log.Warn("a saved label cannot be compared with its proposal", "image", id, "err", err)
		}
		return
	}
	p.compared(k.model.Name, k.model.Version, a)
}

func (k proposed) against(ctx context.Context, path string, limits codec.Limits) (accepted, error) {
	v, err := codec.Read(ctx, path, limits)
	if err != nil {
		return accepted{}, err
	}
	saved, err := imaging.LabelMapOf(v)
	if err != nil {
		return accepted{}, err
	}
	saved, ok := codec.Align(saved, k.labels.grid)
	if !ok {
		return accepted{}, fault.New(fault.Invalid, "the label does not lie on the proposal's grid")
	}
	found := k.labels.labels()
	a := accepted{Image: k.image, Time: time.Now().UTC()}
	for i, v := range found.Data {
		if v != saved.Data[i] {
			a.Changed++
		}
	}
	_, a.Dice, err = agreement(ctx, found, saved, nil)
	return a, err
}

// agreement returns the Dice of each class that either label map has, by its
// name in names (those without one are left out of each), and the mean over the
// classes; 1 where both are empty.
func agreement(ctx context.Context, a, b *imaging.LabelMap, names map[int]string) (each map[string]float64, mean float64, err error) {
	cmp, err := overlap.Compare(ctx, a, b)
	if err != nil {
		return nil, 0, err
	}
	each, n := map[string]float64{}, 0
	for v := 1; v <= int(max(a.Max(), b.Max())); v++ {
		d := cmp.Counts(uint16(v)).Dice(overlap.NNUNet)
		if math.IsNaN(d) {
			continue
		}
		if name, ok := names[v]; ok {
			each[name] = d
		}
		mean += d
		n++
	}
	if n == 0 {
		return each, 1, nil
	}
	return each, mean / float64(n), nil
}
