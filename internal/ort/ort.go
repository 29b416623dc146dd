// Package ort finds, installs and drives ONNX Runtime.
//
// Ensure returns a Library: one of the builds published as Python wheels, with
// pinned version and SHA-256, unpacked into the user's cache folder by the
// user's own pip, or a library the user names by path. Open loads it into the
// process; that can happen once, because ONNX Runtime's environment is global.
// A Runtime makes Sessions on one of the devices that load here, and a Session
// runs one network on float32 buffers which stay the caller's: nothing is
// copied on the way in or out.
//
// Tensors are dense, in C order (last axis fastest), as in ONNX.
package ort

import "slices"

// Devices a session can run on. Each is one execution provider of ONNX
// Runtime; what a provider does not take falls back to the CPU provider.
const (
	CPU      = "cpu"
	OpenVINO = "openvino" // Intel's compiler for x86-64 CPUs of any maker
	CUDA     = "cuda"
)

// Devices returns the names of all devices this package knows, those that do
// not load on this machine included.
func Devices() []string { return []string{CPU, OpenVINO, CUDA} }

// KnownDevice tells whether name is a device; "" stands for the best one.
func KnownDevice(name string) bool { return name == "" || slices.Contains(Devices(), name) }

// Library is an ONNX Runtime on disk.
type Library struct {
	Path    string // the core shared library; its providers lie beside it
	Version string // for example "1.24.1"; "" for an own library that is not loaded yet
	Variant string // "openvino", "cpu", "gpu", or "own" for a library named by path
}
