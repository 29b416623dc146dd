package ort

import (
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/voxloop/voxloop/internal/fault"
)

// Variants of a library.
const (
	VariantOpenVINO = "openvino" // CPU and OpenVINO providers
	VariantCPU      = "cpu"      // CPU provider only
	VariantGPU      = "gpu"      // CPU and CUDA providers; CUDA 13 and cuDNN 9 must be on the machine
	VariantOwn      = "own"      // a library the user named by path
)

// wheel is one published Python wheel and the shared libraries in it that are
// used. Everything is pinned: another file of the same name is refused.
type wheel struct {
	os, arch string // as runtime.GOOS, runtime.GOARCH
	variant  string
	project  string
	version  string
	platform string // platform tag of the file
	sha256   string
	size     int64    // bytes of the wheel
	unpacked int64    // bytes of files
	files    []string // names below onnxruntime/capi; the first is the core library
}

// Interpreter tag of all wheels. The shared libraries do not depend on Python;
// any of the published tags would do.
const (
	wheelPython = "3.11"
	wheelABI    = "cp311"
)

// wheels holds the pinned builds; the first that fits a machine is its default.
//
// The OpenVINO build's files are what the provider and OpenVINO's CPU plugin
// need beside each other; they find one another by $ORIGIN.
var wheels = []wheel{
	{
		os: "linux", arch: "amd64", variant: VariantOpenVINO, project: "onnxruntime-openvino", version: "1.24.1",
		platform: "manylinux_2_28_x86_64", size: 84_430_935, unpacked: 132_943_268,
		sha256: "3007c803634cc69c6d52af1dea7ce729d9bb62b9a11070fd2f959119199007a8",
		files: []string{
			"libonnxruntime.so.1.24.1", "libonnxruntime_providers_shared.so", "libonnxruntime_providers_openvino.so",
			"libopenvino.so.2541", "libopenvino_intel_cpu_plugin.so", "libopenvino_onnx_frontend.so.2541", "libtbb.so.12",
		},
	},
	{
		os: "linux", arch: "amd64", variant: VariantCPU, project: "onnxruntime", version: "1.29.0",
		platform: "manylinux_2_28_x86_64", size: 23_113_193, unpacked: 28_516_480,
		sha256: "85f8e8406c52658735fe5c7fbfd3ebaa1ed340768324f6252e4274e374580a23",
		files:  []string{"libonnxruntime.so.1.29.0", "libonnxruntime_providers_shared.so"},
	},
	{
		os: "linux", arch: "amd64", variant: VariantGPU, project: "onnxruntime-gpu", version: "1.29.0",
		platform: "manylinux_2_28_x86_64", size: 202_176_559, unpacked: 258_378_840,
		sha256: "de3caf93887ba4ad51c7d3cab04c7b464f9dd93c51047be5bfb413fd4a191e6a",
		files:  []string{"libonnxruntime.so.1.29.0", "libonnxruntime_providers_shared.so", "libonnxruntime_providers_cuda.so"},
	},
	{
		os: "linux", arch: "arm64", variant: VariantCPU, project: "onnxruntime", version: "1.29.0",
		platform: "manylinux_2_28_aarch64", size: 20_803_602, unpacked: 24_736_816,
		sha256: "16925ef8497e2c07e4b5ae15b504079b3ab3f65e22c58efd10dde0f3caea969a",
		files:  []string{"libonnxruntime.so.1.29.0", "libonnxruntime_providers_shared.so"},
	},
	{
		os: "darwin", arch: "arm64", variant: VariantCPU, project: "onnxruntime", version: "1.29.0",
		platform: "macosx_14_0_arm64", size: 21_420_890, unpacked: 33_332_888,
		sha256: "07c5907474dec4a2792fd7626b753dc66707808385a6d9eecf993db0066a9d0f",
		files:  []string{"libonnxruntime.1.29.0.dylib"},
	},
}

// Variants returns the variants that Ensure can install on this machine, the
// default first; none on a machine without published builds.
func Variants() []string {
	var out []string
	for _, w := range wheels {
		if w.os == runtime.GOOS && w.arch == runtime.GOARCH {
			out = append(out, w.variant)
		}
	}
	return out
}

// choose returns the build for this machine; variant "" is the default.
func choose(from []wheel, variant string) (wheel, error) {
	i := slices.IndexFunc(from, func(w wheel) bool {
		return w.os == runtime.GOOS && w.arch == runtime.GOARCH && (variant == "" || variant == w.variant)
	})
	if i >= 0 {
		return from[i], nil
	}
	if vs := Variants(); variant != "" && len(vs) > 0 {
		return wheel{}, fault.New(fault.Invalid, "ONNX Runtime: there is no variant %q for %s/%s: use %s, or name an own library with --ort PATH",
			variant, runtime.GOOS, runtime.GOARCH, strings.Join(vs, " or "))
	}
	return wheel{}, fault.New(fault.Unavailable, "ONNX Runtime: no build is published for %s/%s: build the library and name it with --ort PATH",
		runtime.GOOS, runtime.GOARCH)
}

// name returns the file name of the wheel.
func (w wheel) name() string {
	return strings.ReplaceAll(w.project, "-", "_") + "-" + w.version + "-" + wheelABI + "-" + wheelABI + "-" + w.platform + ".whl"
}

// folder returns the name of the folder the build is unpacked to.
func (w wheel) folder() string { return w.variant + "-" + w.version }

func (w wheel) library(dir string) Library {
	return Library{Path: filepath.Join(dir, w.folder(), w.files[0]), Version: w.version, Variant: w.variant}
}
