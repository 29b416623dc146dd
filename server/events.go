package server

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

const (
	eventsType = "text/event-stream"
	eventPulse = 15 * time.Second // between two signs of life
	eventWrite = 10 * time.Second // for a client to take an event
)

func (s *Server) eventRoutes() []route {
	return []route{{
		method: "GET", path: "/events", handle: s.events, tag: "Loop", summary: "What happens, as server-sent events; types=a,b chooses",
		query: []param{text("types")}, answers: eventsType,
	}}
}

// events answers GET /events with what happens from now on, or since the event
// that Last-Event-ID names as far as it is known, until the client goes, is too
// slow, or the server stops.
//
// Source of the form: WHATWG HTML, section 9.2, server-sent events.
func (s *Server) events(c echo.Context) error {
	in := query(c)
	types, err := eventTypes(in.text("types"))
	if err != nil {
		return err
	}
	w, err := s.app.Watch(c.Request().Header.Get("Last-Event-ID"))
	if err != nil {
		return err
	}
	defer w.Close()
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, eventsType)
	h.Set(echo.HeaderCacheControl, "no-cache")
	h.Set("X-Accel-Buffering", "no") // proxies pass on each event at once
	c.Response().WriteHeader(http.StatusOK)
	if err := push(c, []byte(": voxloop\n\n")); err != nil {
		return err
	}
	for _, e := range w.Missed {
		if err := pushEvent(c, e, types); err != nil {
			return err
		}
	}
	pulse := time.NewTicker(eventPulse)
	defer pulse.Stop()
	for {
		select {
		case <-c.Request().Context().Done():
			return nil
		case <-s.stopping:
			return nil
		case <-pulse.C:
			err = push(c, []byte(": pulse\n\n"))
		case e, open := <-w.Events():
			if !open {
				return nil
			}
			err = pushEvent(c, e, types)
		}
		if err != nil {
			return err
		}
	}
}

// eventTypes reads the wanted types; none means all.
func eventTypes(list string) ([]apps.EventType, error) {
	var out []apps.EventType
	for name := range strings.SplitSeq(list, ",") {
		t := apps.EventType(strings.TrimSpace(name))
		if t == "" {
			continue
		}
		if !slices.Contains(apps.EventTypes(), t) {
			return nil, fault.New(fault.Missing, "types: there is no event %.40q; there are %v", string(t), apps.EventTypes())
		}
		out = append(out, t)
	}
	return out, nil
}

func pushEvent(c echo.Context, e apps.Event, types []apps.EventType) error {
	if len(types) > 0 && !slices.Contains(types, e.Type) {
		return nil
	}
	data, err := ordered.Marshal(e.Object()) // one line: JSON escapes line ends
	if err != nil {
		return err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "id: %s\nevent: %s\ndata: %s\n\n", e.ID, e.Type, data)
	return push(c, b.Bytes())
}

// push sends bytes at once. A client that does not take them in time is given up.
func push(c echo.Context, data []byte) error {
	r := http.NewResponseController(c.Response())
	_ = r.SetWriteDeadline(time.Now().Add(eventWrite)) // tests have no connection
	if _, err := c.Response().Write(data); err != nil {
		return err
	}
	return r.Flush()
}
