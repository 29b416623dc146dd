package server

import (
	"strings"

	"github.com/voxloop/voxloop/internal/ordered"
)

// openAPI describes the routes as an OpenAPI 3.1 document.
func openAPI(routes []route) []byte {
	paths := &ordered.Map{}
	for _, r := range routes {
		p := openPath(r.path)
		ops := paths.Sub(p)
		if ops == nil {
			ops = &ordered.Map{}
			paths.Set(p, ops)
		}
		ops.Set(strings.ToLower(r.method), operation(r))
	}
	doc := ordered.Of("openapi", "3.1.0",
		"info", ordered.Of("title", "Voxloop", "version", "0.1.0", "description", "Annotation server for volumes; speaks the MONAI Label protocol."),
		"paths", paths,
		"components", ordered.Of("schemas", ordered.Of(
			"Detail", ordered.Of("type", "object", "required", []any{"detail"}, "properties",
				ordered.Of("detail", ordered.Of("description", "a text, or a list of what is wrong with the parameters"))))))
	data, err := ordered.Marshal(doc)
	if err != nil {
		panic("openapi: " + err.Error()) // the document is made of texts
	}
	return data
}

// openPath writes a route's pattern with braces.
func openPath(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		switch {
		case strings.HasPrefix(p, ":"):
			parts[i] = "{" + p[1:] + "}"
		case p == "*":
			parts[i] = "{path}"
		}
	}
	return strings.Join(parts, "/")
}

func operation(r route) *ordered.Map {
	op := ordered.Of("tags", []any{r.tag}, "summary", r.summary, "operationId", operationID(r))
	if r.old {
		op.Set("deprecated", true)
	}
	params := []any{}
	for part := range strings.SplitSeq(openPath(r.path), "/") {
		if strings.HasPrefix(part, "{") {
			params = append(params, ordered.Of("name", strings.Trim(part, "{}"), "in", "path", "required", true, "schema", ordered.Of("type", "string")))
		}
	}
	for _, p := range r.query {
		params = append(params, ordered.Of("name", p.name, "in", "query", "required", p.needed, "schema", schema(p)))
	}
	if len(params) > 0 {
		op.Set("parameters", params)
	}
	if b := requestBody(r); b != nil {
		op.Set("requestBody", b)
	}
	problem := func(text string) *ordered.Map {
		return ordered.Of("description", text, "content", content1(jsonType, ordered.Of("$ref", "#/components/schemas/Detail")))
	}
	return op.Set("responses", ordered.Of(
		"200", ordered.Of("description", "Done", "content", content1(r.answers, &ordered.Map{})),
		"4XX", problem("Refused: the request cannot be served as it is"),
		"5XX", problem("Failed: the server could not do it"),
	))
}

func operationID(r route) string {
	id := strings.NewReplacer("/", "_", "{", "", "}", "", ".", "_").Replace(strings.Trim(openPath(r.path), "/"))
	return strings.ToLower(r.method) + "_" + id
}

func content1(mimeType string, schema *ordered.Map) *ordered.Map {
	return ordered.Of(mimeType, ordered.Of("schema", schema))
}

func schema(p param) *ordered.Map {
	switch {
	case p.kind == "file" && p.name == "files":
		return ordered.Of("type", "array", "items", ordered.Of("type", "string", "format", "binary"))
	case p.kind == "file":
		return ordered.Of("type", "string", "format", "binary")
	case p.kind == "json":
		return ordered.Of("type", "string", "description", "a JSON object as text", "default", "{}")
	case len(p.words) > 0:
		return ordered.Of("type", "string", "enum", p.words)
	}
	return ordered.Of("type", p.kind)
}

func requestBody(r route) *ordered.Map {
	switch r.body {
	case "json":
		return ordered.Of("required", false, "content", content1(jsonType, ordered.Of("type", "object")))
	case "form":
		fields, needed := &ordered.Map{}, []any{}
		for _, f := range r.fields {
			fields.Set(f.name, schema(f))
			if f.needed {
				needed = append(needed, f.name)
			}
		}
		s := ordered.Of("type", "object", "properties", fields)
		if len(needed) > 0 {
			s.Set("required", needed)
		}
		return ordered.Of("required", len(needed) > 0, "content", content1(partsType, s))
	}
	return nil
}
