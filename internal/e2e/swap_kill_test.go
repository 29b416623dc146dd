package e2e

import (
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestKillDuringSwaps kills the server with SIGKILL at random moments while
// versions are put, published and rolled back. VOXLOOP_SWAP_KILLS sets how
// often. Afterwards what was answered last, or what was under way, is in
// service, whole, and says what it says alone.
func TestKillDuringSwaps(t *testing.T) {
	kills := count(t, "VOXLOOP_SWAP_KILLS", 10)
	ids := []string{"hippocampus_001"}
	studies := copyCases(t, ids...)
	up := func() *server {
		s := launch(t, studies, "--device", "cpu")
		s.waitReady()
		s.must(200, "GET", "/readyz?models=1", nil, nil)
		return s
	}
	s := up()
	begin := time.Now()
	alone, versions := s.variants(ids, 0.5, 1)
	moment := int64(time.Since(begin)) // within some swaps, on any machine
	third := variant(t, 1.5)           // comes and goes
	var answered atomic.Int64
	for k := range kills {
		last, wanted := s.swapUntilKilled(versions, third, &answered, time.Duration(rand.Int64N(moment)))
		s = up()
		got := s.serving()
		if got != last && wanted != anyVersion && got != wanted {
			t.Fatalf("kill %d: %s is in service; %s was answered, %s under way", k+1, got, last, wanted)
		}
		v, sum, err := s.ask(ids[0])
		if err != nil || v != got {
			t.Fatalf("kill %d: %s is in service, %s answers: %v", k+1, got, v, err)
		}
		if want, known := alone[v+ids[0]]; known && sum != want {
			t.Errorf("kill %d: version %s answers something else than before", k+1, v)
		} else if !known {
			alone[v+ids[0]] = sum
		}
		litter, err := filepath.Glob(filepath.Join(studies, ".voxloop", "models", "hippocampus", ".*"))
		if err != nil || len(litter) > 0 {
			t.Errorf("kill %d: litter %v, %v", k+1, litter, err)
		}
		for _, x := range s.listed() {
			if strings.Contains(x.Why, "damaged") {
				t.Errorf("kill %d: %+v", k+1, x)
			}
		}
	}
	if answered.Load() < int64(kills)/2 {
		t.Errorf("only %d swaps were answered in %d runs: the test proves nothing", answered.Load(), kills)
	}
	t.Logf("%d kills, %d answered swaps", kills, answered.Load())
}

// anyVersion marks a swap under way whose version is not known: a rollback or
// a put.
const anyVersion = "any"

// swapUntilKilled swaps without pause and kills the server after a while. It
// returns the version that was answered last and the one under way.
func (s *server) swapUntilKilled(versions []string, network []byte, answered *atomic.Int64, after time.Duration) (last, wanted string) {
	s.t.Helper()
	last = s.serving()
	time.AfterFunc(after, func() { _ = s.cmd.Process.Kill() })
	for i := 0; ; i++ {
		var a answer
		var err error
		switch i % 4 {
		case 1:
			wanted = anyVersion
			header, body := form(map[string]any{}, "file", "w.onnx", network)
			a, err = s.raw("PUT", "/model/hippocampus", header, body)
		case 2:
			wanted = anyVersion
			a, err = s.raw("POST", "/model/hippocampus/rollback", nil, nil)
		default:
			wanted = versions[rand.IntN(len(versions))]
			a, err = s.raw("POST", "/model/hippocampus/publish?version="+url.QueryEscape(wanted), nil, nil)
		}
		if err != nil {
			<-s.done
			return last, wanted
		}
		if a.status != 200 && a.status != 409 { // nothing to go back to
			s.t.Fatalf("a swap was answered %d: %s", a.status, a.body)
		}
		answered.Add(1)
		if v, ok := a.json(s.t)["version"].(string); ok {
			last = v
		} else if a.status == 200 {
			b, err := s.raw("GET", "/model/hippocampus/versions", nil, nil)
			if err != nil {
				<-s.done
				return last, anyVersion
			}
			last, _ = b.json(s.t)["in_service"].(string)
		}
	}
}
