// Package onnx reads, edits and writes ONNX models and prepares them for an
// execution provider.
//
// The messages are decoded and encoded by hand on protowire, field numbers and
// meanings as in the ONNX IR specification (onnx.proto, IR version 3 to 13).
// Fields that this package has no use for are kept byte for byte and written
// back, so Parse followed by Bytes gives a model of the same meaning.
//
// The types are plain: a Model has a Graph, a Graph has Nodes in topological
// order, Initializers and typed Values. Edit the slices, then ask Index for
// producers and consumers: an Index is a snapshot. Tensor contents are shared
// between copies and must be replaced, never written in place.
//
// Input is bounded: a malformed or hostile file gives an error of kind
// fault.Invalid, never a panic, and memory stays proportional to its size.
package onnx
