// Package fault gives errors a kind, so that every layer can say what sort of
// failure it saw and HTTP statuses or exit codes are chosen once, at the edge.
//
// The message of a fault is safe to show to a client: no patient data, no
// absolute paths. The wrapped cause is for the log.
package fault

import (
	"errors"
	"fmt"
)

// Kind sorts failures by what the caller can do about them.
type Kind int

// The kinds. Internal is the zero value: an error nobody classified is ours.
const (
	Internal    Kind = iota // our own failure
	Invalid                 // the input cannot be used (unreadable file, bad value, bad JSON)
	Missing                 // a field is absent or has the wrong type
	NotFound                // the named thing does not exist
	Conflict                // the request contradicts the present state
	TooLarge                // a configured limit was exceeded
	Busy                    // a queue is full; try again
	Unavailable             // a part that is needed is not there (read-only state, library absent, shutting down)
	NoSpace                 // the disk is full
	Canceled                // the caller went away
)

var kindNames = map[Kind]string{
	Internal: "internal", Invalid: "invalid", Missing: "missing", NotFound: "not found", Conflict: "conflict",
	TooLarge: "too large", Busy: "busy", Unavailable: "unavailable", NoSpace: "no space", Canceled: "canceled",
}

func (k Kind) String() string {
	if s, ok := kindNames[k]; ok {
		return s
	}
	return fmt.Sprintf("fault.Kind(%d)", int(k))
}

// Error is an error with a kind and a message for the client.
type Error struct {
	Kind Kind
	Msg  string // safe to show to a client
	Err  error  // cause, for the log; may be nil
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Msg
	}
	return e.Msg + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// New returns a fault of kind k with a formatted client message.
func New(k Kind, format string, args ...any) error {
	return &Error{Kind: k, Msg: fmt.Sprintf(format, args...)}
}

// Wrap returns a fault of kind k around cause. It returns nil when cause is nil.
func Wrap(k Kind, cause error, format string, args ...any) error {
	if cause == nil {
		return nil
	}
	return &Error{Kind: k, Msg: fmt.Sprintf(format, args...), Err: cause}
}

// KindOf returns the kind of the outermost fault in err's chain, or Internal.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// Message returns the client message of the outermost fault in err's chain
// and whether there is one. Errors without a kind have no message for clients.
func Message(err error) (string, bool) {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Msg, true
	}
	return "", false
}
