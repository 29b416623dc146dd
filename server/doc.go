// Package server speaks the MONAI Label protocol over HTTP: it decodes
// requests, calls apps and encodes answers. It holds no imaging and no model
// code.
//
// Routes stand in one table (routes.go), from which the router, the answers
// 405 and 307, /openapi.json and /docs are made. Faults meet HTTP statuses in
// errors.go and nowhere else. What differs from the reference server on
// purpose is listed in docs/protocol-differences.md.
//
// Two habits of clients shape the code. Python clients read multipart answers
// from the raw socket: every answer carries Content-Length, nothing is chunked
// or compressed. And some repeat the Content-Length of an earlier upload on
// requests without a body: GET, HEAD and DELETE never read one.
package server
