package fault

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestKindTravelsThroughWrapping(t *testing.T) {
	err := fmt.Errorf("outer: %w", Wrap(NotFound, io.EOF, "image %q is unknown", "x"))
	if k := KindOf(err); k != NotFound {
		t.Errorf("kind %v", k)
	}
	if m, ok := Message(err); !ok || m != `image "x" is unknown` {
		t.Errorf("message %q, %v", m, ok)
	}
	if !errors.Is(err, io.EOF) {
		t.Error("the cause is lost")
	}
	if err.Error() != `outer: image "x" is unknown: EOF` {
		t.Errorf("text %q", err)
	}
}

func TestErrorsWithoutKindAreInternal(t *testing.T) {
	if k := KindOf(io.EOF); k != Internal {
		t.Errorf("kind %v", k)
	}
	if _, ok := Message(io.EOF); ok {
		t.Error("an unclassified error has a client message")
	}
	if Wrap(Invalid, nil, "x") != nil {
		t.Error("wrapping nil gives an error")
	}
}

func TestEveryKindHasAName(t *testing.T) {
	for k := Internal; k <= Canceled; k++ {
		if _, ok := kindNames[k]; !ok {
			t.Errorf("kind %d has no name", int(k))
		}
	}
}
