package server

import "slices"

// fixed are the routes that no prefix moves: pages, and what machines look at.
var fixed = []string{"/", "/docs", "/openapi.json", "/favicon.ico", "/healthz", "/readyz", "/metrics", "/reload"}

// prefixed puts prefix before the path of every protocol route.
func prefixed(routes []route, prefix string) []route {
	for i := range routes {
		if !slices.Contains(fixed, routes[i].path) {
			routes[i].path = prefix + routes[i].path
		}
	}
	return routes
}
