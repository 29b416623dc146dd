package server

import (
	"testing"
)

func TestSelectionRoutes(t *testing.T) {
	s := serve(t, testApp(t, nil), Options{})
	o := s.must(200, "GET", "/selection/", nil, nil).object(t)
	contains(t, "the status", marshal(t, o), `"model":"segmentation"`)
	contains(t, "the status", marshal(t, o), `"images":3,"labelled":2`)
	contains(t, "the strategies", marshal(t, o), `"margin":{"description":"Smallest margin between the two likeliest classes","parameters":{"kind":"margin","seed":0`)
	contains(t, "what stands in the way", marshal(t, o), "cannot tell how sure they are")
	if a := s.must(200, "GET", "/selection/ranking", nil, nil); string(a.body) != `{"model":"segmentation","measure":"entropy","images":[]}` {
		t.Errorf("%s", a.body)
	}
	contains(t, "a measure that is none", s.must(422, "GET", "/selection/ranking?measure=x", nil, nil).body, "measure")
	contains(t, "too many", s.must(422, "GET", "/selection/ranking?limit=0", nil, nil).body, "limit")
	s.must(422, "GET", "/selection/ranking?limit=x", nil, nil)
}
