package strategies

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// modelImage is what the property test knows of an image.
type modelImage struct {
	labelled, quarantined bool
	version               string // of its last observation; empty: none
	score                 float64
	corrupt               bool
	client                string // who holds it
	until                 int64  // 0: nobody
}

func (m *modelImage) open() bool { return !m.labelled && !m.quarantined }

func (m *modelImage) free(now int64) bool { return m.open() && m.until <= now }

// machine drives an index and a plain list of images with the same events.
type machine struct {
	x       *Index
	entropy Strategy
	images  map[string]*modelImage
	service string
	now     int64
}

const machineLease = 100

func newMachine(t *rapid.T) *machine {
	m := &machine{
		x:      Open(Options{Lease: machineLease * time.Second, ColdStart: -1, Seed: 1, PerClient: 1000}),
		images: make(map[string]*modelImage), now: 1000,
	}
	var err error
	if m.entropy, err = New(m.x, Spec{Kind: KindEntropy, Model: "m"}); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *machine) id(t *rapid.T) string {
	return fmt.Sprintf("case_%02d", rapid.IntRange(0, 24).Draw(t, "image"))
}

func (m *machine) request(t *rapid.T) Request {
	return Request{Client: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "client"), Now: time.Unix(m.now, 0)}
}

// event changes the state of an image.
func (m *machine) event(t *rapid.T) {
	id := m.id(t)
	ev := Event{
		ID: id, Gone: rapid.IntRange(0, 9).Draw(t, "gone") == 0,
		Labelled:    rapid.IntRange(0, 3).Draw(t, "labelled") == 0,
		Quarantined: rapid.IntRange(0, 7).Draw(t, "quarantined") == 0,
	}
	m.x.Handle(ev)
	if ev.Gone {
		delete(m.images, id)
		return
	}
	im := m.images[id]
	if im == nil {
		im = &modelImage{}
		m.images[id] = im
	}
	im.labelled, im.quarantined = ev.Labelled, ev.Quarantined
	if !im.open() {
		im.until = 0
	}
}

// observe gives a new observation of an image.
func (m *machine) observe(t *rapid.T) {
	id := m.id(t)
	ob := &Observation{
		Image: id, Model: "m", Version: rapid.SampledFrom([]string{"v1", "v2", "v3"}).Draw(t, "version"),
		Scores: map[Measure]float64{Entropy: float64(rapid.IntRange(0, 9).Draw(t, "score")) / 10},
	}
	if rapid.IntRange(0, 5).Draw(t, "corrupt") == 0 {
		ob.Corrupt, ob.Scores = "broken", nil
	}
	err := m.x.Put(ob)
	im := m.images[id]
	if (err == nil) != (im != nil) {
		t.Fatalf("Put of %s: %v; known: %v", id, err, im != nil)
	}
	if im != nil {
		im.version, im.score, im.corrupt = ob.Version, ob.Scores[Entropy], ob.Corrupt != ""
	}
}

func (m *machine) publish(t *rapid.T) {
	m.service = rapid.SampledFrom([]string{"v1", "v2", "v3"}).Draw(t, "service")
	m.x.Serve("m", m.service, 1)
}

func (m *machine) wait(t *rapid.T) { m.now += int64(rapid.IntRange(1, 60).Draw(t, "seconds")) }

// next asks for an image and compares with the plain list: the highest score
// among the free sound images, then one without score, then a corrupt one.
func (m *machine) next(t *rapid.T) {
	req := m.request(t)
	class := func(im *modelImage) int {
		switch {
		case im.corrupt:
			return 2
		case im.version == "":
			return 1
		}
		return 0
	}
	var want []string
	for id, im := range m.images {
		if im.free(m.now) {
			want = append(want, id)
		}
	}
	slices.SortFunc(want, func(a, b string) int {
		x, y := m.images[a], m.images[b]
		return cmp.Or(cmp.Compare(class(x), class(y)), cmp.Compare(y.score, x.score), cmp.Compare(a, b))
	})
	pick, err := m.entropy.Next(t.Context(), req)
	if len(want) == 0 {
		m.nextOfNone(t, req, pick, err)
		return
	}
	if err != nil {
		t.Fatalf("%d images are free: %v", len(want), err)
	}
	im := m.images[pick.ID]
	if im == nil || !im.free(m.now) {
		t.Fatalf("picked %s, which is not free: %+v", pick.ID, im)
	}
	if best := class(m.images[want[0]]); class(im) != best || best == 0 && pick.ID != want[0] {
		t.Fatalf("picked %s %+v, want %s %+v", pick.ID, im, want[0], m.images[want[0]])
	}
	if e := pick.Explanation; class(im) == 0 && (e.Rank != 1 || e.Score != im.score || e.Version != im.version ||
		(e.InService != "") != (m.service != "" && im.version != m.service)) {
		t.Fatalf("%s %+v is explained by %+v with %s in service", pick.ID, im, e, m.service)
	}
	im.client, im.until = req.Client, m.now+machineLease
}

// nextOfNone checks an answer when no image is free: the client's own oldest
// lease, or none.
func (m *machine) nextOfNone(t *rapid.T, req Request, pick Pick, err error) {
	least, held, open := int64(math.MaxInt64), 0, 0
	for _, im := range m.images {
		if im.open() {
			open++
			if im.client == req.Client {
				least, held = min(least, im.until), held+1
			}
		}
	}
	if held == 0 {
		if !errors.Is(err, ErrNone) {
			t.Fatalf("no image is free for %s: %v, %v", req.Client, pick, err)
		}
		var heldBy *HeldError
		if errors.As(err, &heldBy) != (open > 0) {
			t.Fatalf("%d images are held: %v", open, err)
		}
		return
	}
	if err != nil || m.images[pick.ID].client != req.Client || m.images[pick.ID].until != least {
		t.Fatalf("%s got %v, %v; want the one held longest", req.Client, pick.ID, err)
	}
	m.images[pick.ID].until = m.now + machineLease
}

// release gives an image back.
func (m *machine) release(t *rapid.T) {
	id, req := m.id(t), m.request(t)
	m.x.Leases(req.Now) // lets leases end
	got := m.x.Release(req.Client, id)
	im := m.images[id]
	want := im != nil && im.until > m.now && im.client == req.Client
	if got != want {
		t.Fatalf("release of %s by %s: %v, want %v", id, req.Client, got, want)
	}
	if want {
		im.until = 0
	}
}

// check compares all of the index's lists with the plain list.
func (m *machine) check(t *rapid.T) {
	x := m.x
	leases := x.Leases(time.Unix(m.now, 0))
	x.mu.Lock()
	defer x.mu.Unlock()
	seen := make(map[string]string)
	note := func(id, where string) {
		if other, twice := seen[id]; twice {
			t.Fatalf("%s is in %s and %s", id, other, where)
		}
		seen[id] = where
	}
	for _, c := range x.pool {
		note(c.id, "pool")
	}
	for k := range x.flagged.all {
		note(k.c.id, "flagged")
	}
	for _, l := range leases {
		note(l.Image, "held by "+l.Client)
	}
	open := 0
	for id, im := range m.images {
		want := ""
		switch {
		case !im.open():
		case im.until > m.now:
			want = "held by " + im.client
		case im.corrupt:
			want = "flagged"
		default:
			want = "pool"
		}
		if seen[id] != want {
			t.Fatalf("%s %+v is in %q, want %q", id, im, seen[id], want)
		}
		if want != "" {
			open++
		}
	}
	if len(seen) != open || x.open != open {
		t.Fatalf("%d images in lists, %d counted, %d open", len(seen), x.open, open)
	}
	m.checkTrees(t)
}

// checkTrees checks contents and order of the trees. The lock is held.
func (m *machine) checkTrees(t *rapid.T) {
	x := m.x
	if n := x.byID.len(); n != len(x.pool)+x.flagged.len() {
		t.Fatalf("%d ids for %d images", n, len(x.pool)+x.flagged.len())
	}
	st := x.models["m"]
	if st == nil {
		return
	}
	ranked := st.orders[order{measure: Entropy}]
	want := 0
	for _, c := range x.pool {
		if m.images[c.id].version != "" {
			want++
		}
	}
	if ranked.len() != want {
		t.Fatalf("%d images are ranked, want %d", ranked.len(), want)
	}
	for name, tr := range map[string]*tree{"ranking": ranked, "ids": &x.byID, "unscored": &st.unscored, "fresh": &st.fresh, "stale": &st.stale} {
		var last *key
		for k := range tr.all {
			if last != nil && !last.before(k) {
				t.Fatalf("%s: %v before %v", name, last.c.id, k.c.id)
			}
			last = &k
		}
		for i := range tr.len() {
			if tr.rank(tr.at(i)) != i {
				t.Fatalf("%s: rank of the key at %d is %d", name, i, tr.rank(tr.at(i)))
			}
		}
	}
}

// wanted checks that every open image that is not current is asked for, once.
func (m *machine) wanted(t *rapid.T) {
	got := make(map[string]bool)
	for _, w := range m.x.Wanted("m", 1000) {
		im := m.images[w.ID]
		if got[w.ID] || im == nil || !im.open() || im.version != w.Stale || im.version != "" && (m.service == "" || im.version == m.service) {
			t.Fatalf("wanted %+v: %+v, %s in service, twice: %v", w, im, m.service, got[w.ID])
		}
		got[w.ID] = true
	}
	for id, im := range m.images {
		if im.open() && !got[id] && (im.version == "" || m.service != "" && im.version != m.service) {
			t.Fatalf("%s %+v is not wanted with %s in service", id, im, m.service)
		}
	}
}

// setChecks sets how many cases the next rapid.Check tries.
func setChecks(t *testing.T, least string) {
	t.Helper()
	if n := os.Getenv("VOXLOOP_INDEX_CHECKS"); n != "" {
		least = n
	}
	for name, value := range map[string]string{"rapid.checks": least, "rapid.nofailfile": "true"} {
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
}

// TestIndexProperties: after any sequence of events no image is lost or in two
// places, rankings are right, and no image is held by two clients.
//
// VOXLOOP_INDEX_CHECKS sets how many sequences are tried.
func TestIndexProperties(t *testing.T) {
	setChecks(t, "1500")
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t)
		t.Repeat(map[string]func(*rapid.T){
			"event": m.event, "event2": m.event, "observe": m.observe, "observe2": m.observe, "publish": m.publish,
			"wait": m.wait, "next": m.next, "next2": m.next, "release": m.release, "wanted": m.wanted, "": m.check,
		})
	})
}
