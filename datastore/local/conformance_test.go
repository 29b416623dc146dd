package local

import (
	"io"
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/datastore/datastoretest"
)

func TestMain(m *testing.M) {
	if runKillChild() {
		return
	}
	// Badger leaves these two behind when it refuses a damaged index. A store
	// that is not closed leaves others, too.
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("github.com/dgraph-io/badger/v4.(*DB).monitorCache"),
		goleak.IgnoreTopFunction("github.com/dgraph-io/ristretto/v2/z.(*AllocatorPool).freeupAllocators"))
}

var quietLog = slog.New(slog.DiscardHandler)

func TestConformance(t *testing.T) {
	datastoretest.Run(t, func(t *testing.T, dir string) datastore.Store {
		t.Helper()
		return open(t, Options{Studies: dir})
	})
}

// open opens a store that logs nothing unless told otherwise.
func open(t testing.TB, o Options) *Store {
	t.Helper()
	if o.Logger == nil {
		o.Logger = quietLog
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func bytesWriter(b string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, b); return err }
}
