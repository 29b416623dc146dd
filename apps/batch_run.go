package apps

import (
	"context"
	"fmt"
	"time"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/jobs"
	"github.com/voxloop/voxloop/internal/ordered"
)

// batchRun is a batch inference on its way.
type batchRun struct {
	app     *App
	job     *jobs.Job
	request batchRequest
	result  *ordered.Map // for a caller that waits; nil: nobody does

	total, left, done, skipped, failed int
	took                               time.Duration // of those done
	last                               error         // of those failed
}

func (b *batchRun) all(ctx context.Context, images []string) (any, error) {
	b.job.Log(stamped(fmt.Sprintf("%d images for %s, version %s", b.total, b.request.model.Name, b.request.model.Version)))
	for _, id := range images {
		if err := b.one(ctx, id); err != nil {
			return nil, err
		}
		b.left--
		b.job.Progress(stamped(b.account()))
	}
	if b.failed > 0 && b.done+b.skipped == 0 {
		return nil, fault.Wrap(fault.KindOf(b.last), b.last, "none of %d images could be segmented", b.total)
	}
	b.app.log.Info("batch inference finished", "task", b.job.ID, "model", b.request.model.Name, "done", b.done, "skipped", b.skipped, "failed", b.failed)
	if b.result == nil {
		return nil, nil //nolint:nilnil // nobody waits for one
	}
	return b.result, nil
}

// account says how far the work is.
func (b *batchRun) account() string {
	text := fmt.Sprintf("%d of %d images: %d segmented, %d skipped, %d failed", b.total-b.left, b.total, b.done, b.skipped, b.failed)
	if b.left > 0 && b.done > 0 {
		text += "; " + remaining(b.took/time.Duration(b.done), b.left)
	}
	return text
}

// one segments an image. An error ends the whole batch: what is wrong with the
// image alone is told and counted.
func (b *batchRun) one(ctx context.Context, id string) error {
	for {
		leave, _, err := b.app.background.enter(ctx)
		if err != nil {
			return err
		}
		err = b.segment(ctx, id)
		leave()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fault.Wrap(fault.Canceled, err, "the batch inference was stopped")
		}
		switch fault.KindOf(err) {
		case fault.Busy: // people's requests fill the queue
			if err := pause(ctx, time.Second); err != nil {
				return err
			}
			continue
		case fault.Unavailable, fault.NoSpace: // of the model or the disk: no image would do better
			return err
		default:
			b.failed++
			b.last = err
			b.tell(id, err)
			return nil
		}
	}
}

// tell names an image that failed.
func (b *batchRun) tell(id string, err error) {
	msg, ok := fault.Message(err)
	if !ok {
		msg = "it failed; the server's log says why"
	}
	b.app.log.Warn("an image of a batch inference failed", "task", b.job.ID, "image", id, "err", err)
	b.job.Log(stamped(id + ": " + msg))
	if b.result != nil {
		b.result.Set(id, &ordered.Map{})
	}
}

func (b *batchRun) segment(ctx context.Context, id string) error {
	img, err := b.app.store.Image(id)
	if err != nil {
		return err
	}
	if m, ok := b.app.engine.Model(b.request.model.Name); ok {
		b.request.model = m // another version may be in service by now
	}
	if why := b.request.batchDone(img); why != "" {
		b.skipped++
		b.keep(id, nil)
		return nil
	}
	begin := time.Now()
	res, err := b.app.segmentStored(ctx, b.request.model, b.request.wishes, img)
	if err != nil {
		return err
	}
	defer res.Close()
	b.done++
	b.took += time.Since(begin)
	b.keep(id, res.Params)
	if b.request.wishes.save {
		b.job.Safe()
	}
	return nil
}

// keep adds an image to the result, as the protocol has it; params are those of
// the stored label when the image was skipped.
func (b *batchRun) keep(id string, params *ordered.Map) {
	if b.result == nil {
		return
	}
	o := &ordered.Map{}
	if b.request.wishes.save {
		o.Set("label", id).Set("tag", b.request.wishes.tag)
		if img, err := b.app.store.Image(id); err == nil && params == nil {
			l, _ := img.Label(b.request.wishes.tag)
			params = l.Info.Sub("params")
		}
	}
	if params == nil {
		params = &ordered.Map{}
	}
	b.result.Set(id, o.Set("params", params))
}

// pause waits, or for the end of ctx, whose error it returns then.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
