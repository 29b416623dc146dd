package infer

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/internal/ort/orttest"
	"github.com/voxloop/voxloop/internal/testkit"
)

// modelDir makes a model folder of a manifest and a copy of a network.
func modelDir(t testing.TB, manifest, network string) string {
	t.Helper()
	dir := t.TempDir()
	data, err := os.ReadFile(network)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, NetworkFile), data)
	write(t, filepath.Join(dir, ManifestFile), []byte(manifest))
	return dir
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// registry serves on a device with the machine's runtime.
func registry(t testing.TB, device string) *Registry {
	t.Helper()
	rt := orttest.Runtime(t)
	if err := rt.ProviderError(deviceOr(device, rt)); err != nil {
		testkit.SkipOrFail(t, fmt.Sprintf("the device %s does not load here: %v", device, err))
	}
	r := NewRegistry(RegistryOptions{
		Runtime:  func(context.Context) (*ort.Runtime, error) { return rt, nil },
		Device:   device,
		CacheDir: t.TempDir(),
		Logger:   slog.New(slog.NewTextHandler(testLog{t}, nil)),
	})
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func deviceOr(device string, rt *ort.Runtime) string {
	if device == "" {
		return rt.Best()
	}
	return device
}

type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	return l.t.Output().Write(b)
}

// serve adds one model and waits for it.
func serve(t testing.TB, device, manifest, network string) *Registry {
	t.Helper()
	r := registry(t, device)
	if err := r.Add("m", modelDir(t, manifest, network)); err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(t.Context(), "m"); err != nil {
		t.Fatal(err)
	}
	return r
}

func volume(t testing.TB, path string) *imaging.Volume {
	t.Helper()
	v, err := codec.Read(t.Context(), path, codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func labelMap(t testing.TB, path string) *imaging.LabelMap {
	t.Helper()
	l, err := imaging.LabelMapOf(volume(t, path))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// differing counts the voxels in which two label maps differ.
func differing(t testing.TB, got, want *imaging.LabelMap) int {
	t.Helper()
	if got.Size != want.Size {
		t.Fatalf("size %v, want %v", got.Size, want.Size)
	}
	n := 0
	for i, l := range want.Data {
		if got.Data[i] != l {
			n++
		}
	}
	return n
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
