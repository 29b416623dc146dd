package ordered

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"
)

func TestRoundTripKeepsOrderNumbersAndText(t *testing.T) {
	for _, s := range []string{
		`{"version_10":1,"version_2":2,"a":{"z":null,"b":[1,2.50,{"y":true,"x":"é<&>"}]}}`,
		`{}`, `{"n":1e3,"big":12345678901234567890,"neg":-0.0}`, `{"u":"\u2028"}`,
	} {
		m, err := Parse([]byte(s))
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		got, err := Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != s {
			t.Errorf("got  %s\nwant %s", got, s)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`[1]`, "not an object"},
		{`{"a":1} x`, "after the end"},
		{`{"a":`, "unexpected"},
		{``, "unexpected"},
		{strings.Repeat("[", 100000), "deeper"},
		{`{"a":1,}`, "invalid character"},
	} {
		_, err := Parse([]byte(tt.in))
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), tt.want) {
			t.Errorf("%.20q: error %v, want one with %q", tt.in, err, tt.want)
		}
	}
}

func TestSetKeepsPlaceAndDeleteFreesIt(t *testing.T) {
	m := Of("a", 1, "b", 2, "c", 3)
	m.Set("b", 9)
	m.Delete("a")
	m.Delete("never")
	m.Set("a", 1)
	if got, _ := Marshal(m); string(got) != `{"b":9,"c":3,"a":1}` {
		t.Errorf("got %s", got)
	}
}

func TestMergeIsShallowAndCloneIsDeep(t *testing.T) {
	a := Of("x", Of("p", 1), "y", []any{Of("q", 1)})
	c := a.Clone()
	c.Sub("x").Set("p", 2)
	y, _ := c.Get("y")
	y.([]any)[0].(*Map).Set("q", 2)
	if got, _ := Marshal(a); string(got) != `{"x":{"p":1},"y":[{"q":1}]}` {
		t.Errorf("the clone shares state with the original: %s", got)
	}
	a.Merge(Of("x", 5, "z", 6))
	if got, _ := Marshal(a); string(got) != `{"x":5,"y":[{"q":1}],"z":6}` {
		t.Errorf("merged: %s", got)
	}
}

func TestNilMapIsEmpty(t *testing.T) {
	var m *Map
	if m.Len() != 0 || m.Keys() != nil || m.String("a") != "" || m.Sub("a") != nil || m.Clone() != nil {
		t.Error("a nil map is not empty")
	}
	for range m.All() {
		t.Error("a nil map has entries")
	}
}

func TestIndentEscapesLikeTheReference(t *testing.T) {
	got, err := Indent(Of("n", "Grün 𝄞", "e", &Map{}))
	if err != nil {
		t.Fatal(err)
	}
	want := "{\n  \"n\": \"Gr\\u00fcn \\ud834\\udd1e\",\n  \"e\": {}\n}"
	if string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !json.Valid(got) {
		t.Error("not JSON")
	}
}

// Deeply nested values are written in time linear in their text, as plain
// encoding/json would write them.
func TestNestedValues(t *testing.T) {
	var deep any = "leaf"
	for i := range 150 {
		if i%2 == 0 {
			deep = []any{deep, nil, []any(nil), []any{}}
		} else {
			deep = Of("k", deep, "none", (*Map)(nil), "empty", &Map{}, "<", "ü&")
		}
	}
	got, err := Marshal(deep)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseValue(got)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Marshal(back); err != nil || string(again) != string(got) || !strings.Contains(string(got), `["leaf",null,null,[]]`) ||
		!strings.Contains(string(got), `"none":null,"empty":{},"<":"ü&"}`) {
		t.Errorf("%v: %s", err, got)
	}
	if _, err := Marshal(Of("a", []any{Of("b", func() {})})); err == nil || !strings.Contains(err.Error(), `key "a": key "b"`) {
		t.Errorf("a function: %v", err)
	}
	wide := Of("x", strings.Repeat("y", 1<<20))
	for range 150 {
		wide = Of("k", wide)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = Marshal(wide)
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; err != nil || used > 32<<20 {
		t.Errorf("%d MiB for a text of 1 MiB: %v", used>>20, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":null}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := ParseValue(data)
		if err != nil {
			return
		}
		out, err := Marshal(v)
		if err != nil {
			t.Fatalf("parsed but cannot be written: %v", err)
		}
		if _, err := ParseValue(out); err != nil {
			t.Fatalf("%s does not parse again: %v", out, err)
		}
	})
}
