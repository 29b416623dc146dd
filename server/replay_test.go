package server

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/voxloop/voxloop/internal/ordered"
	"github.com/voxloop/voxloop/internal/testkit"
)

// TestReplayOfTheRecordings sends what the recordings 001 to 109 show to a
// whole server with the real network and compares the answers: status, the
// headers that clients read, and the JSON with its key order and types. Values
// are compared but for names, versions, times, paths and what a model makes.
// A difference must stand in docs/protocol-differences.md, in the column that
// names its kind, and what stands there must occur.
func TestReplayOfTheRecordings(t *testing.T) {
	app := realApp(t)
	s := serve(t, app, Options{})
	s.must(200, "GET", "/readyz?models=1", nil, nil)
	known := documented(t)
	session := ""
	for _, r := range recordings(t) {
		h, body := r.request(t)
		a := s.do(r.method, strings.ReplaceAll(r.path, "<SESSION-ID>", session), h, body)
		if r.number == "012" {
			session = a.object(t).String("session_id")
		}
		var c comparison
		c.compare(r, a, app.StudiesDir())
		if got, want := c.kinds(), known[r.number]; got != want {
			t.Errorf("%s %s %s: differs in %q, documented %q\n  %s\n  got %d %.300s", r.number, r.method, r.path, got, want,
				strings.Join(c.found, "\n  "), a.status, a.body)
		}
	}
}

var differenceRow = regexp.MustCompile(`^\| (\d{3}) \| [^|]+ \| ([^|]+) \|`)

// documented reads the table of differences: recording → kinds.
func documented(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(testkit.Root(t), "docs", "protocol-differences.md"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if m := differenceRow.FindStringSubmatch(line); m != nil {
			if out[m[1]] != "" {
				t.Errorf("recording %s stands in the table twice", m[1])
			}
			out[m[1]] = m[2]
		}
	}
	if len(out) == 0 {
		t.Fatal("the table of differences holds no recording")
	}
	return out
}

// comparison collects the differences of one exchange.
type comparison struct {
	number string
	found  []string
	kind   []string
	paths  []string // of the JSON values that differ
}

func (c *comparison) differ(kind, format string, args ...any) {
	c.found = append(c.found, kind+": "+fmt.Sprintf(format, args...))
	if !slices.Contains(c.kind, kind) {
		c.kind = append(c.kind, kind)
	}
}

// differAt is differ for a JSON value of the body.
func (c *comparison) differAt(at, format string, args ...any) {
	c.differ("body", at+" "+format, args...)
	if !slices.Contains(c.paths, at) {
		c.paths = append(c.paths, at)
	}
}

// kinds returns "status, headers, body" as far as they differ. A body that
// alone differs is followed by the paths of the values that do.
func (c *comparison) kinds() string {
	slices.SortFunc(c.kind, func(a, b string) int {
		order := []string{"status", "headers", "body"}
		return slices.Index(order, a) - slices.Index(order, b)
	})
	text := strings.Join(c.kind, ", ")
	if len(c.paths) > 0 && text == "body" { // the same kind of answer: say where it differs
		text += " " + strings.Join(c.paths, " ")
	}
	return text
}

var (
	uuidText     = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	tempText     = regexp.MustCompile(`tmp\d+`)
	boundaryText = regexp.MustCompile(`boundary=[0-9a-f]{32}$`)
	hostText     = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)
)

// plain replaces what differs from run to run by the recordings' own words.
func plain(s, studies string) string {
	for from, to := range map[string]string{
		filepath.Join(studies, ".voxloop", "sessions"): "<HOME>/.cache/monailabel/sessions",
	} {
		s = strings.ReplaceAll(s, from, to)
	}
	s = strings.ReplaceAll(s, studies, "<STUDIES>")
	s = uuidText.ReplaceAllString(s, "<SESSION-ID>")
	s = hostText.ReplaceAllString(s, "http://<HOST>")
	return tempText.ReplaceAllString(s, "<TMPNAME>")
}

func (c *comparison) compare(r recording, a answer, studies string) {
	c.number = r.number
	if a.status != r.status {
		c.differ("status", "%d, recorded %d", a.status, r.status)
	}
	c.headers(r, a, studies)
	got := plain(string(a.body), studies)
	want := uuidText.ReplaceAllString(r.body, "<SESSION-ID>")
	switch ct := r.header["content-type"]; {
	case r.method == "HEAD":
		if len(a.body) > 0 {
			c.differ("body", "HEAD has a body")
		}
	case ct == "application/json":
		c.json(nil, got, want)
	case strings.HasPrefix(ct, "multipart/"):
		c.parts(got, want)
	case strings.HasPrefix(want, "(binary, "):
		c.binary(r, a)
	case r.number == "105":
		if lines := strings.Count(got, "\n"); lines > 4 {
			c.differ("body", "%d lines of the log, asked for 4", lines)
		}
	case want == "(empty)":
		if got != "" {
			c.differ("body", "not empty")
		}
	case got != want:
		c.differ("body", "%.100q, recorded %.100q", got, want)
	}
}

// headers compares the headers that clients read. Entity tags, times and
// lengths have to be there.
func (c *comparison) headers(r recording, a answer, studies string) {
	for _, name := range []string{
		"content-type", "content-disposition", "allow", "location", "vary", "accept-ranges", "access-control-allow-origin",
		"access-control-allow-credentials", "access-control-allow-methods", "access-control-allow-headers", "access-control-max-age",
	} {
		got, want := a.header.Get(name), r.header[name]
		got = boundaryText.ReplaceAllString(plain(got, studies), "boundary=<B>")
		want = boundaryText.ReplaceAllString(want, "boundary=<B>")
		if got != want {
			c.differ("headers", "%s %q, recorded %q", name, got, want)
		}
	}
	for _, name := range []string{"etag", "last-modified", "content-length"} {
		if got, want := a.header.Get(name) != "", r.header[name] != ""; got != want {
			c.differ("headers", "%s present: %v, recorded %v", name, got, want)
		}
	}
}

func (c *comparison) binary(r recording, a answer) {
	if len(a.body) == 0 {
		c.differ("body", "empty")
	}
	// The files of the studies come as they are.
	if r.number == "015" || r.number == "050" {
		if got := fmt.Sprint(len(a.body)); got != r.header["content-length"] {
			c.differ("body", "%s bytes, recorded %s", got, r.header["content-length"])
		}
	}
}

// parts compares a multipart answer with the recorded one, line by line up to
// the data.
func (c *comparison) parts(got, want string) {
	got, want = strings.TrimSpace(got), strings.TrimSpace(want)
	_, want, _ = strings.Cut(want, "\n") // "(multipart, n bytes)"
	g := strings.SplitN(got, "\r\n", 11)
	w := strings.SplitN(want, "\n", 11)
	if len(g) != len(w) {
		c.differ("body", "%d lines before the data, recorded %d", len(g), len(w))
		return
	}
	boundary := g[0]
	for i := range 9 {
		w[i] = strings.TrimSuffix(w[i], "\r") // kept in some lines of the recordings
		switch {
		case strings.HasPrefix(w[i], "{"):
			c.json(nil, g[i], w[i])
			c.spacing(g[i])
		case w[i] == "--<BOUNDARY>":
			if g[i] != boundary {
				c.differ("body", "line %d is %q", i, g[i])
			}
		case g[i] != w[i]:
			c.differ("body", "line %d is %q, recorded %q", i, g[i], w[i])
		}
	}
	if !strings.HasSuffix(got, "\r\n"+boundary+"--") {
		c.differ("body", "the closing boundary is missing")
	}
}

// spacing checks Python's separators, by writing the text again.
func (c *comparison) spacing(text string) {
	v, err := ordered.ParseValue([]byte(text))
	if err != nil {
		return // reported by json
	}
	compact, err := ordered.Marshal(v)
	if err != nil || string(spaced(compact)) != text {
		c.differ("body", "the params are not spaced as Python does: %v %s", err, text)
	}
}

func (c *comparison) json(path []string, got, want string) {
	g, err := ordered.ParseValue([]byte(got))
	if err != nil {
		c.differ("body", "no JSON: %.100q", got)
		return
	}
	w, err := ordered.ParseValue([]byte(want))
	if err != nil {
		c.differ("body", "the recording is no JSON: %v", err)
		return
	}
	c.value(path, g, w)
}

// loose reports whether the value at a path may differ: names and versions,
// times, and what a model or chance makes. Its type may not.
func (c *comparison) loose(path []string) bool {
	last, at := path[len(path)-1], strings.Join(path, "/")
	switch {
	case slices.Contains([]string{"ts", "create_ts", "last_access_ts", "weight"}, last):
		return true
	case slices.Contains(path, "latencies"), slices.Contains(path, "centroids"):
		return true
	case c.number == "001" || c.number == "004":
		return slices.Contains([]string{"name", "description", "version", "models/segmentation/description"}, at)
	case c.number >= "241": // of models
		return slices.Contains([]string{"checksum", "modified_time"}, last) || path[0] == "train_stats" && last != "key_metric_name"
	case c.number == "087" || c.number == "088": // either of the two unlabelled cases
		return slices.Contains([]string{"id", "path", "name"}, last)
	}
	return false
}

// opaque reports whether an object's keys are a model's own business.
func (c *comparison) opaque(path []string) bool {
	n := len(path)
	return n > 0 && (path[n-1] == "transform" || path[n-1] == "centroids") || strings.Join(path, "/") == "models/segmentation/config"
}

func (c *comparison) value(path []string, got, want any) {
	at := "/" + strings.Join(path, "/")
	if g, w := typeName(got), typeName(want); g != w {
		c.differAt(at, "is %s, recorded %s", g, w)
		return
	}
	switch w := want.(type) {
	case *ordered.Map:
		g := got.(*ordered.Map)
		if c.opaque(path) {
			return
		}
		if c.number == "008" && len(path) == 1 { // another server's description: not key by key
			gj, gerr := ordered.Marshal(g)
			wj, werr := ordered.Marshal(w)
			if gerr != nil || werr != nil || string(gj) != string(wj) {
				c.differAt(at, "describes other routes")
			}
			return
		}
		if gk, wk := strings.Join(g.Keys(), " "), strings.Join(w.Keys(), " "); gk != wk {
			c.differAt(at, "has the keys %q, recorded %q", gk, wk)
		}
		for k, v := range w.All() {
			if gv, found := g.Get(k); found {
				c.value(append(slices.Clone(path), k), gv, v)
			}
		}
	case []any:
		g := got.([]any)
		if len(g) != len(w) {
			c.differAt(at, "has %d elements, recorded %d", len(g), len(w))
			return
		}
		for i := range w {
			c.value(append(slices.Clone(path), fmt.Sprint(i)), g[i], w[i])
		}
	default:
		if got != want && !c.loose(path) {
			c.differAt(at, "is %v, recorded %v", got, want)
		}
	}
}

// typeName tells integers from other numbers: Python clients do.
func typeName(v any) string {
	if n, ok := v.(json.Number); ok {
		if strings.ContainsAny(n.String(), ".eE") {
			return "float"
		}
		return "int"
	}
	return fmt.Sprintf("%T", v)
}
