// Package trainers is the home of everything that makes better weights from
// new labels. Package native trains the served ONNX network itself, without
// Python.
package trainers
