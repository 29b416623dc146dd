package ort

import (
	"strconv"

	ortgo "github.com/yalue/onnxruntime_go"

	"github.com/voxloop/voxloop/internal/fault"
)

// SessionOptions tunes a session. The zero value takes the best device and all
// cores.
type SessionOptions struct {
	Device           string // cpu, openvino, cuda; "": OpenVINO where it loads, else cpu
	Threads          int    // CPU threads of one run; 0: Cores()
	OptimizationsOff bool   // run the graph as written, for reference results
	NoArena          bool   // the CPU provider gives memory back after every operator instead of keeping it for the next run; about 10 % slower
	ByteInputs       bool   // inputs may also be uint8 (masks): Tensor.Bytes
	MemoryPattern    bool   // the CPU provider plans one block for all intermediate results; up to 80 MB more at 96³ voxels, and no faster
}

func (o SessionOptions) withDefaults() SessionOptions {
	if o.Threads <= 0 {
		o.Threads = Cores()
	}
	return o
}

// build makes ONNX Runtime's form of the options; the caller destroys it.
func (o SessionOptions) build() (*ortgo.SessionOptions, error) {
	opts, err := ortgo.NewSessionOptions()
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "ONNX Runtime's session options could not be made")
	}
	if err := o.apply(opts); err != nil {
		_ = opts.Destroy() // the first error counts
		return nil, fault.Wrap(fault.Unavailable, err, "device %s cannot be used", o.Device)
	}
	return opts, nil
}

func (o SessionOptions) apply(opts *ortgo.SessionOptions) error {
	level := ortgo.GraphOptimizationLevel(ortgo.GraphOptimizationLevelEnableAll)
	if o.OptimizationsOff {
		level = ortgo.GraphOptimizationLevelDisableAll
	}
	for _, set := range []func() error{
		func() error { return opts.SetLogSeverityLevel(ortgo.LoggingLevelFatal) },
		func() error { return opts.SetGraphOptimizationLevel(level) },
		func() error { return opts.SetIntraOpNumThreads(o.Threads) },
		func() error { return opts.SetInterOpNumThreads(1) },
		// Waiting threads sleep: spinning, they would hold a core for 10 ms and
		// more after every window, while the caller blends it.
		func() error { return opts.AddSessionConfigEntry("session.intra_op.allow_spinning", "0") },
		func() error { return opts.SetCpuMemArena(!o.NoArena) },
		func() error { return opts.SetMemPattern(o.MemoryPattern) },
		func() error { return o.provider(opts) },
	} {
		if err := set(); err != nil {
			return err
		}
	}
	return nil
}

// provider adds the device's execution provider in front of the CPU's.
func (o SessionOptions) provider(opts *ortgo.SessionOptions) error {
	switch o.Device {
	case OpenVINO:
		return opts.AppendExecutionProviderOpenVINO(map[string]string{
			"device_type":    "CPU",
			"num_of_threads": strconv.Itoa(o.Threads),
		})
	case CUDA:
		return appendCUDA(opts)
	}
	return nil
}

func appendCUDA(opts *ortgo.SessionOptions) error {
	cuda, err := ortgo.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	defer func() { _ = cuda.Destroy() }()
	// Full float32 arithmetic: TF32 keeps 10 bits of mantissa only.
	if err := cuda.Update(map[string]string{"use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}); err != nil {
		return err
	}
	return opts.AppendExecutionProviderCUDA(cuda)
}
