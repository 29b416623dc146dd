package local

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/internal/ordered"
)

// The kill test runs this test binary a second time as a server that saves
// labels and prints a line for every save that returned, kills it with SIGKILL
// at random moments and looks whether everything that was printed is there.
// VOXLOOP_KILLS sets how often (default 20).
const (
	killsVar = "VOXLOOP_KILLS"
	childVar = "VOXLOOP_KILL_CHILD" // studies folder of the child
	seedVar  = "VOXLOOP_KILL_SEED"
)

const killImages = 3

// runKillChild plays the child's part when this process is one.
func runKillChild() bool {
	dir := os.Getenv(childVar)
	if dir == "" {
		return false
	}
	seed, err := strconv.ParseUint(os.Getenv(seedVar), 10, 64)
	if err == nil {
		err = saveForEver(dir, rand.New(rand.NewPCG(seed, 0)))
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(3)
	return true
}

func saveForEver(dir string, rng *rand.Rand) error {
	s, err := Open(context.Background(), Options{Studies: dir, Logger: quietLog, Debounce: 20 * time.Millisecond})
	if err != nil {
		return err
	}
	fmt.Println("open")
	for n := 0; ; n++ {
		id := fmt.Sprint("case", rng.IntN(killImages))
		tag := []string{"final", "original"}[rng.IntN(2)]
		ext := []string{".nii.gz", ".nrrd"}[rng.IntN(2)]
		body := make([]byte, 1000+rng.IntN(300_000))
		for i := range body {
			body[i] = byte(rng.Uint32())
		}
		l, err := s.SaveLabel(context.Background(), id, tag, datastore.LabelFile{
			Ext: ext, Info: ordered.Of("n", n), Write: func(w io.Writer) error { _, err := w.Write(body); return err },
		})
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		fmt.Printf("%s %s %d %s %s\n", id, tag, l.Version, ext, hex.EncodeToString(sum[:]))
	}
}

// saved is one acknowledged save.
type saved struct {
	version  int
	ext, sum string
}

func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes for some seconds: run without -short")
	}
	kills := 20
	if v := os.Getenv(killsVar); v != "" {
		var err error
		if kills, err = strconv.Atoi(v); err != nil {
			t.Fatalf("%s: %v", killsVar, err)
		}
	}
	dir := t.TempDir()
	for i := range killImages {
		writeFile(t, filepath.Join(dir, fmt.Sprintf("case%d.nii.gz", i)), "voxels")
	}
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	all := map[string][]saved{} // "id tag" → every acknowledged save, in order
	total := 0
	for round := range kills {
		acks := runAndKill(t, dir, rng)
		for _, line := range acks {
			f := strings.Fields(line)
			if len(f) != 5 {
				t.Fatalf("round %d: the child printed %q", round, line)
			}
			version, err := strconv.Atoi(f[2])
			if err != nil {
				t.Fatal(err)
			}
			key := f[0] + " " + f[1]
			all[key] = append(all[key], saved{version, f[3], f[4]})
			total++
		}
		verifyKilled(t, dir, all)
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
	if total < kills {
		t.Errorf("only %d saves were acknowledged in %d rounds: the test tests little", total, kills)
	}
	t.Logf("%d kills, %d acknowledged saves", kills, total)
}

// runAndKill starts a child, kills it at a random moment and returns the
// complete lines that it printed.
func runAndKill(t *testing.T, dir string, rng *rand.Rand) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childVar+"="+dir, fmt.Sprintf("%s=%d", seedVar, rng.Uint64()))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(out)
	if line, err := in.ReadString('\n'); err != nil || line != "open\n" {
		t.Fatalf("the child did not open the store: %q, %v", line, err)
	}
	time.AfterFunc(time.Duration(rng.Int64N(int64(250*time.Millisecond))), func() { _ = cmd.Process.Kill() })
	var lines []string
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			break // a line without its end was not printed whole
		}
		lines = append(lines, line)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the child ended by itself: %v", err)
	}
	return lines
}

// verifyKilled opens the store without any help and compares it with what was
// acknowledged.
func verifyKilled(t *testing.T, dir string, all map[string][]saved) {
	t.Helper()
	s := open(t, Options{Studies: dir})
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		noLitter(t, dir) // not earlier: an open store may be rewriting its index file
	}()
	if st := s.Stats(); st.Total != killImages {
		t.Errorf("%d images, want %d", st.Total, killImages)
	}
	for key, saves := range all {
		id, tag, _ := strings.Cut(key, " ")
		last := saves[len(saves)-1]
		img, err := s.Image(id)
		if err != nil {
			t.Fatal(err)
		}
		l, ok := img.Label(tag)
		if !ok {
			t.Errorf("%s: the label is gone", key)
			continue
		}
		// A save that was cut short just before its answer may have replaced the
		// last acknowledged one, which then lies among the older versions.
		switch {
		case l.Version == last.version:
			if got := sumOf(t, l.Path); got != last.sum {
				t.Errorf("%s: version %d is not what was saved", key, last.version)
			}
			if n, ok := l.Info.Get("n"); !ok {
				t.Errorf("%s: info %v", key, n)
			}
		case l.Version < last.version:
			t.Errorf("%s: version %d, acknowledged was %d", key, l.Version, last.version)
		default:
			saves = append(saves, saved{version: l.Version}) // the current one
		}
		for _, old := range saves[:len(saves)-1] {
			path := filepath.Join(dir, StateDir, "labels", id, tag, fmt.Sprintf("%d%s", old.version, old.ext))
			if got := sumOf(t, path); got != old.sum {
				t.Errorf("%s: older version %d is not what was saved", key, old.version)
			}
		}
		for _, other := range []string{".nii.gz", ".nrrd"} {
			if _, err := os.Stat(filepath.Join(dir, "labels", tag, id+other)); other == l.Ext && err != nil {
				t.Errorf("%s: %v", key, err)
			}
		}
	}
}

func sumOf(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// noLitter fails the test when a temporary file of ours is left in dir.
func noLitter(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && isTemp(d.Name()) {
			t.Errorf("litter: %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func writeFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
