package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
)

// ack is a label that the server answered with 200.
type ack struct {
	id  string
	sum [32]byte
	n   int // number of the save
}

// ledger remembers what clients were promised. A save that was sent but not
// answered may or may not have happened.
type ledger struct {
	mu      sync.Mutex
	acked   map[string][]ack    // per image, in order
	pending map[string][32]byte // per image: sent, not answered
}

// TestNoAnsweredLabelIsLostByKill kills the server with SIGKILL at random
// moments while several clients save labels. VOXLOOP_KILLS sets how often.
func TestNoAnsweredLabelIsLostByKill(t *testing.T) {
	kills := count(t, "VOXLOOP_KILLS", 20)
	ids := []string{"hippocampus_001", "hippocampus_003", "hippocampus_004", "hippocampus_006"}
	studies := copyCases(t, ids...)
	grids := map[string]imaging.Grid{}
	for _, id := range ids {
		h, err := codec.ReadGrid(t.Context(), filepath.Join(studies, id+".nii.gz"))
		if err != nil {
			t.Fatal(err)
		}
		grids[id] = h.Grid
	}
	book := &ledger{acked: map[string][]ack{}, pending: map[string][32]byte{}}
	for k := range kills {
		s := start(t, studies)
		s.saveUntilKilled(t, book, grids, time.Duration(5+rand.IntN(300))*time.Millisecond)
		book.verify(t, studies, k)
		if t.Failed() {
			t.Fatalf("after kill %d", k+1)
		}
	}
	s := start(t, studies)
	book.verifyServed(t, s)
	s.stop()
	total := 0
	for _, a := range book.acked {
		total += len(a)
	}
	if total < kills {
		t.Errorf("only %d labels were answered in %d runs: the test proves nothing", total, kills)
	}
	t.Logf("%d kills, %d answered labels, all present", kills, total)
}

// saveUntilKilled runs one client per image, all saving, and kills the server
// after a while.
func (s *server) saveUntilKilled(t *testing.T, book *ledger, grids map[string]imaging.Grid, after time.Duration) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for id, g := range grids {
		wg.Go(func() {
			for alive := true; alive && ctx.Err() == nil; {
				alive = s.saveRandom(book, id, g)
			}
		})
	}
	time.Sleep(after)
	s.kill()
	cancel()
	wg.Wait()
}

// saveRandom saves one label of random voxels; false when the server is gone.
func (s *server) saveRandom(book *ledger, id string, g imaging.Grid) bool {
	l := imaging.NewLabelMap(g)
	for i := range l.Data {
		l.Data[i] = uint16(rand.IntN(3))
	}
	var file bytes.Buffer
	if err := codec.WriteLabels(&file, ".nii.gz", l, imaging.Uint8, codec.WriteOptions{}); err != nil {
		s.t.Error(err)
		return false
	}
	sum := sha256.Sum256(file.Bytes())
	book.mu.Lock()
	n := len(book.acked[id]) + 1
	book.pending[id] = sum
	book.mu.Unlock()
	h, body := form(map[string]any{"n": n}, "label", id+".nii.gz", file.Bytes())
	a, err := s.raw("PUT", "/datastore/label?image="+id, h, body)
	if err != nil {
		return false
	}
	if a.status != 200 {
		s.t.Errorf("saving a label was answered %d: %s", a.status, a.body)
		return false
	}
	book.mu.Lock()
	defer book.mu.Unlock()
	book.acked[id] = append(book.acked[id], ack{id, sum, n})
	delete(book.pending, id)
	return true
}

// verify checks the files right after a kill, before anything repairs them:
// the current label of every image is the last answered one, or the complete
// file of a save that was under way. Every earlier answered version is kept.
func (b *ledger) verify(t *testing.T, studies string, kill int) {
	t.Helper()
	for id, acks := range b.acked {
		last := acks[len(acks)-1]
		cur, err := os.ReadFile(filepath.Join(studies, "labels", "final", id+".nii.gz"))
		if err != nil {
			t.Errorf("kill %d: the label of %s is gone: %v", kill+1, id, err)
			continue
		}
		sum := sha256.Sum256(cur)
		pending, sent := b.pending[id]
		switch {
		case sum == last.sum:
		case sent && sum == pending:
			b.acked[id] = append(acks, ack{id, sum, last.n + 1}) // it happened, only the answer was lost
		default:
			t.Errorf("kill %d: the label of %s (%d bytes) is neither the last answered one nor the one under way", kill+1, id, len(cur))
		}
		delete(b.pending, id)
		b.verifyVersions(t, studies, id)
	}
}

func (b *ledger) verifyVersions(t *testing.T, studies, id string) {
	t.Helper()
	have := map[[32]byte]bool{}
	files, err := filepath.Glob(filepath.Join(studies, ".voxloop", "labels", id, "final", "*.nii.gz"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(files, filepath.Join(studies, "labels", "final", id+".nii.gz")) {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		have[sha256.Sum256(data)] = true
	}
	for _, a := range b.acked[id] {
		if !have[a.sum] {
			t.Errorf("%s: version %d was answered 200 and is in no file", id, a.n)
		}
	}
}

// verifyServed asks a restarted server for every label and for the index.
func (b *ledger) verifyServed(t *testing.T, s *server) {
	t.Helper()
	var index struct {
		Objects map[string]struct {
			Labels map[string]json.RawMessage `json:"labels"`
		} `json:"objects"`
	}
	if err := json.Unmarshal(s.must(200, "GET", "/datastore/?output=all", nil, nil).body, &index); err != nil {
		t.Fatal(err)
	}
	for id, acks := range b.acked {
		a := s.must(200, "GET", fmt.Sprintf("/datastore/label?label=%s&tag=final", id), nil, nil)
		if sha256.Sum256(a.body) != acks[len(acks)-1].sum {
			t.Errorf("%s: the label that is served is not the last one answered", id)
		}
		if _, ok := index.Objects[id].Labels["final"]; !ok {
			t.Errorf("%s: the index has no final label", id)
		}
	}
}
