package server

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/voxloop/voxloop/internal/ordered"
)

// input reads the parameters of one request and collects what is wrong with
// them, so that one answer names everything.
type input struct {
	values   url.Values
	problems []*ordered.Map
}

func query(c echo.Context) *input { return &input{values: c.Request().URL.Query()} }

// err returns the collected problems, or nil.
func (q *input) err() error {
	if len(q.problems) == 0 {
		return nil
	}
	return &requestError{q.problems}
}

func (q *input) problem(kind string, loc []any, msg string, input any, ctx *ordered.Map) {
	p := ordered.Of("type", kind, "loc", loc, "msg", msg, "input", input)
	if ctx != nil {
		p.Set("ctx", ctx)
	}
	q.problems = append(q.problems, p)
}

func (q *input) missing(where, name string) {
	q.problem("missing", []any{where, name}, "Field required", nil, nil)
}

// last returns the last value of a parameter: the one that counts when it is
// repeated.
func (q *input) last(name string) (string, bool) {
	v := q.values[name]
	if len(v) == 0 {
		return "", false
	}
	return v[len(v)-1], true
}

// text returns an optional parameter.
func (q *input) text(name string) string {
	v, _ := q.last(name)
	return v
}

// need returns a required parameter.
func (q *input) need(name string) string {
	v, ok := q.last(name)
	if !ok {
		q.missing("query", name)
	}
	return v
}

var boolWords = map[string]bool{
	"true": true, "1": true, "on": true, "t": true, "y": true, "yes": true,
	"false": false, "0": false, "off": false, "f": false, "n": false, "no": false,
}

// flag returns an optional switch.
func (q *input) flag(name string, def bool) bool {
	v, ok := q.last(name)
	if !ok {
		return def
	}
	b, ok := boolWords[strings.ToLower(v)]
	if !ok {
		q.problem("bool_parsing", []any{"query", name}, "Input should be a valid boolean, unable to interpret input", v, nil)
	}
	return b
}

// number returns an optional integer.
func (q *input) number(name string, def int) int {
	v, ok := q.last(name)
	if !ok {
		return def
	}
	n, err := strconv.Atoi(strings.TrimSpace(v))
	if err != nil {
		q.problem("int_parsing", []any{"query", name}, "Input should be a valid integer, unable to parse string as an integer", v, nil)
	}
	return n
}

// choice returns an optional word out of a set; "" when it is absent.
func (q *input) choice(name string, words ...string) string {
	v, ok := q.last(name)
	if !ok {
		return ""
	}
	if slices.Contains(words, v) {
		return v
	}
	expected := "'" + strings.Join(words[:len(words)-1], "', '") + "' or '" + words[len(words)-1] + "'"
	q.problem("enum", []any{"query", name}, "Input should be "+expected, v, ordered.Of("expected", expected))
	return ""
}
