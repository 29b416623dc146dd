package ort

import (
	"os"
	"path/filepath"
	"sync"

	ortgo "github.com/yalue/onnxruntime_go"

	"github.com/voxloop/voxloop/internal/fault"
)

// Runtime is the ONNX Runtime loaded into this process. It lives as long as
// the process does. Its methods may be called from many goroutines.
type Runtime struct {
	lib    Library
	probes map[string]func() error // device → why it does not load here; each runs once
	keep   *Session                // holds OpenVINO's plugin in memory; see tryDevice
}

// loaded is the process's runtime: the library keeps global state, so there
// can be only one.
var loaded struct {
	sync.Mutex
	rt *Runtime
}

// Open loads l into the process. The same library again returns the same
// Runtime; another one is refused (fault.Conflict), because ONNX Runtime
// cannot be exchanged in a running process. A file that is absent, is no ONNX
// Runtime or is older than 1.24 gives fault.Unavailable.
func Open(l Library) (*Runtime, error) {
	path, err := realPath(l.Path)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "ONNX Runtime: the library %s cannot be opened", filepath.Base(l.Path))
	}
	l.Path = path
	loaded.Lock()
	defer loaded.Unlock()
	if rt := loaded.rt; rt != nil {
		if rt.lib.Path == path {
			return rt, nil
		}
		return nil, fault.New(fault.Conflict,
			"ONNX Runtime %s (%s, %s) is already loaded; %s (%s) needs a new process",
			rt.lib.Version, rt.lib.Variant, filepath.Base(rt.lib.Path), filepath.Base(path), l.Variant)
	}
	limitHeap()
	ortgo.SetSharedLibraryPath(path)
	// Every failure comes back as an error, so the library's own log would
	// only say it twice; it stays silent below "fatal".
	if err := ortgo.InitializeEnvironment(ortgo.WithLogLevelFatal()); err != nil {
		return nil, fault.Wrap(fault.Unavailable, err,
			"ONNX Runtime: %s could not be loaded; a library of version 1.24 or newer for this machine is needed", filepath.Base(path))
	}
	l.Version = ortgo.GetVersion()
	loaded.rt = newRuntime(l)
	return loaded.rt, nil
}

// Current returns the Runtime that Open loaded, if any.
func Current() (*Runtime, bool) {
	loaded.Lock()
	defer loaded.Unlock()
	return loaded.rt, loaded.rt != nil
}

// Library returns the loaded library with the version that it reports itself.
func (r *Runtime) Library() Library { return r.lib }

func realPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	target, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(target)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fault.New(fault.Invalid, "%s is no file", filepath.Base(path))
	}
	return target, nil
}
