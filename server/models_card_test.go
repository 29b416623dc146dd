package server

import (
	"strings"
	"testing"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/infer"
)

// TestCardAndShadow asks for a model card in both forms and lets a candidate run
// beside the version in service.
func TestCardAndShadow(t *testing.T) {
	app := modelApp(t, "m", func(o *apps.Options) { o.Versions.Policy = map[infer.Origin]apps.Policy{} })
	s := serve(t, app, Options{})
	s.must(200, "GET", "/readyz?models=1", nil, nil)
	card := s.must(200, "GET", "/model/m/card", nil, nil)
	if ct := card.header.Get("Content-Type"); !strings.HasPrefix(ct, "text/markdown") || !strings.HasPrefix(string(card.body), "# Model card: m, version ") {
		t.Errorf("%s: %s", ct, card.body)
	}
	o := s.must(200, "GET", "/model/m/card?version=app&output=json", nil, nil).object(t)
	if in, _ := o.Get("in_service"); in != true || o.String("model") != "m" {
		t.Errorf("%s", marshal(t, o))
	}
	candidate := s.put(200, "/model/m", network(changedNetwork(t, 3))).object(t).String("candidate")
	for path, status := range map[string]int{
		"GET /model/none/card": 404, "GET /model/m/card?version=none": 404, "GET /model/m/card?output=pdf": 422, "GET /model/m/shadow": 404,
		"GET /model/m/shadow?version=..": 404, "POST /model/m/shadow": 422, "POST /model/m/shadow?version=none": 404, "POST /model/m/shadow?version=app": 409,
		"DELETE /model/m/shadow": 404,
	} {
		method, target, _ := strings.Cut(path, " ")
		s.must(status, method, target, nil, nil)
	}
	begun := s.must(200, "POST", "/model/m/shadow?version="+candidate[:8], nil, nil).object(t)
	if running, _ := begun.Get("running"); running != true || begun.String("version") != candidate {
		t.Errorf("%s", marshal(t, begun))
	}
	if got := s.must(200, "GET", "/model/m/shadow", nil, nil).object(t).String("version"); got != candidate {
		t.Errorf("in the shadow is %s", got)
	}
	s.must(200, "DELETE", "/model/m/shadow", nil, nil)
	if running, _ := s.must(200, "GET", "/model/m/shadow?version="+candidate, nil, nil).object(t).Get("running"); running != false {
		t.Errorf("it runs still: %v", running)
	}
}
