package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/trainers"
)

// maxRequest bounds the line that a child reads: a hundred thousand cases have
// room.
const maxRequest = 256 << 20

// runTrainChild trains for a parent process, by the protocol of external
// trainers: one Request on standard input, whose end means stop; Events on
// standard output; the log on standard error.
func runTrainChild(ctx context.Context, s streams, f trainFlags) error {
	out := json.NewEncoder(s.out)
	if err := lowerPriority(f.nice); err != nil {
		return err
	}
	in := bufio.NewReader(s.in)
	r, err := readRequest(in)
	if err != nil {
		return errors.Join(err, out.Encode(trainers.FailedEvent(err)))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// This goroutine ends with its input or with the process, which lives for
	// this one training.
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel(errHungUp)
	}()
	var broken error
	_, err = nativeTrainer(r.Library, r.Device, s, quietLogger(s.err)).Train(ctx, r, func(e trainers.Event) {
		if err := out.Encode(e); err != nil && broken == nil {
			broken = err
			cancel(errHungUp) // nobody reads any more
		}
	})
	return err
}

var errHungUp = fault.New(fault.Canceled, "the program that asked for the training has gone")

// readRequest reads the request's line.
func readRequest(in *bufio.Reader) (trainers.Request, error) {
	var r trainers.Request
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if line = append(line, part...); len(line) > maxRequest {
			return r, fault.New(fault.TooLarge, "the training request has more than %d bytes", maxRequest)
		}
		if err == nil || errors.Is(err, io.EOF) {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return r, fault.Wrap(fault.Invalid, err, "the training request cannot be read")
		}
	}
	if len(bytes.TrimSpace(line)) == 0 {
		return r, fault.New(fault.Missing, "there is no training request on standard input")
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return r, fault.Wrap(fault.Invalid, err, "the training request is no JSON object of the protocol")
	}
	return r, nil
}
