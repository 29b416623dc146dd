package server

import (
	"bytes"
	"testing"
	"time"
)

func TestSelectionRoutes(t *testing.T) {
	s := serve(t, testApp(t, nil), Options{})
	status := func() []byte { return marshal(t, s.must(200, "GET", "/selection/", nil, nil).object(t)) }
	o := status()
	// What stands in the way is found out in the background, after the start.
	for deadline := time.Now().Add(10 * time.Second); !bytes.Contains(o, []byte(`"blocked":`)) && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		o = status()
	}
	contains(t, "the status", o, `"model":"segmentation"`)
	contains(t, "the status", o, `"images":3,"labelled":2`)
	contains(t, "the strategies", o, `"margin":{"description":"Smallest margin between the two likeliest classes","parameters":{"kind":"margin","seed":0`)
	contains(t, "what stands in the way", o, "cannot tell how sure they are")
	if a := s.must(200, "GET", "/selection/ranking", nil, nil); string(a.body) != `{"model":"segmentation","measure":"entropy","images":[]}` {
		t.Errorf("%s", a.body)
	}
	contains(t, "a measure that is none", s.must(422, "GET", "/selection/ranking?measure=x", nil, nil).body, "measure")
	contains(t, "too many", s.must(422, "GET", "/selection/ranking?limit=0", nil, nil).body, "limit")
	s.must(422, "GET", "/selection/ranking?limit=x", nil, nil)
}
