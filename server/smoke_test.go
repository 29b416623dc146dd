package server

import "testing"

func TestSmoke(t *testing.T) {
	app := testApp(t, nil)
	s := serve(t, app, Options{})
	t.Log(string(s.must(200, "GET", "/info/", nil, nil).body))
	t.Log(string(s.must(200, "GET", "/datastore/?output=all", nil, nil).body))
	h, b := formBody(t, field{key: "params", data: []byte("{}")})
	a := s.must(200, "POST", "/infer/segmentation?image=hippocampus_045", h, b)
	t.Logf("%v %.600q", a.header, a.body)
	t.Log(tempFiles(t, app))
	t.Log(s.log.String())
}
