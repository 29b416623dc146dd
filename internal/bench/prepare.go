package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// prepare makes, once, everything that the measurements need.
func prepare(ctx context.Context, o options) (*lab, error) {
	if _, err := os.Stat(o.bin); err != nil {
		return nil, fmt.Errorf("%s is absent: run `make build`", o.bin)
	}
	src := filepath.Join(o.shared, "reference-bench")
	if _, err := os.Stat(src); err != nil {
		return nil, fmt.Errorf("the shared folder with reference-bench is absent: name it with -shared or VOXLOOP_SHARED")
	}
	if err := os.MkdirAll(o.work, 0o750); err != nil {
		return nil, err
	}
	l := &lab{
		o: o, cpu: machine(), python: filepath.Join(o.work, "reference", "bin", "python"),
		app: filepath.Join(o.work, "app"), refApp: filepath.Join(o.work, "refapp"), studies: map[string]string{},
	}
	if err := l.environment(ctx, src); err != nil {
		return nil, err
	}
	if err := l.models(ctx, src); err != nil {
		return nil, err
	}
	if err := l.cases(); err != nil {
		return nil, err
	}
	for _, n := range []int{2000, 100000} {
		if err := l.many(n); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// environment makes the reference server's Python environment.
func (l *lab) environment(ctx context.Context, src string) error {
	done := filepath.Join(l.o.work, "reference", "voxloop-bench-ready")
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	fmt.Fprintln(os.Stderr, "bench: installing the reference server, about 8 GB")
	dir := filepath.Join(l.o.work, "reference")
	if err := command(ctx, l.o.work, nil, l.o.python, "-m", "venv", dir); err != nil {
		return err
	}
	if err := command(ctx, l.o.work, nil, l.python, "-m", "pip", "install", "-q", "-r", filepath.Join(src, "requirements.txt")); err != nil {
		return err
	}
	return os.WriteFile(done, nil, 0o600)
}

// models writes the same fixed random weights for both servers.
func (l *lab) models(ctx context.Context, src string) error {
	if _, err := os.Stat(filepath.Join(l.refApp, "main.py")); err != nil {
		if err := os.CopyFS(l.refApp, os.DirFS(filepath.Join(src, "refapp"))); err != nil {
			return err
		}
	}
	onnx := filepath.Join(l.o.work, "onnx")
	if _, err := os.Stat(filepath.Join(onnx, "unet_ct.onnx")); err != nil {
		if err := command(ctx, l.o.work, nil, l.python, filepath.Join(src, "make_models.py"), "--app", l.refApp, "--out", onnx); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(l.app); err != nil {
		return err
	}
	for name, manifest := range manifests {
		dir := filepath.Join(l.app, "models", name)
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "manifest.yaml"), []byte(manifest), 0o600); err != nil {
			return err
		}
		if err := os.Link(filepath.Join(onnx, name+".onnx"), filepath.Join(dir, "model.onnx")); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(l.app, "app.yaml"), []byte(appYAML), 0o600)
}

// cases makes one studies folder per server: the 195 crops and the CT.
func (l *lab) cases() error {
	dir := filepath.Join(l.o.work, "studies-cases")
	l.studies["cases"] = dir
	for _, d := range []string{dir, dir + "-reference"} {
		if _, err := os.Stat(filepath.Join(d, "example_ct.nii.gz")); err == nil {
			continue
		}
		images := filepath.Join(l.o.shared, "data", "hippocampus", "images")
		entries, err := os.ReadDir(images)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := copyFile(filepath.Join(images, e.Name()), filepath.Join(d, e.Name())); err != nil {
				return err
			}
		}
		ct := filepath.Join(l.o.shared, "data", "totalseg_ct", "example_ct.nii.gz")
		if err := copyFile(ct, filepath.Join(d, "example_ct.nii.gz")); err != nil {
			return err
		}
	}
	return nil
}

// many makes studies folders of n images: hard links to one small case.
func (l *lab) many(n int) error {
	dir := filepath.Join(l.o.work, "studies-"+strconv.Itoa(n))
	l.studies[strconv.Itoa(n)] = dir
	dirs := []string{dir}
	if n <= 2000 {
		dirs = append(dirs, dir+"-reference")
	}
	for _, d := range dirs {
		last := filepath.Join(d, fmt.Sprintf("case_%06d.nii.gz", n-1))
		if _, err := os.Stat(last); err == nil {
			continue
		}
		if err := os.RemoveAll(d); err != nil {
			return err
		}
		var first string
		for i := range n {
			name := filepath.Join(d, fmt.Sprintf("case_%06d.nii.gz", i))
			if i%10000 == 0 { // file systems limit the links of one file
				first = name
				if err := copyFile(filepath.Join(l.studies["cases"], "hippocampus_164.nii.gz"), name); err != nil {
					return err
				}
				continue
			}
			if err := os.Link(first, name); err != nil {
				return err
			}
		}
	}
	return nil
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from) //nolint:gosec // test data
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600) //nolint:gosec // below the work folder
}

var appYAML = strings.TrimLeft(`
name: Bench
description: The two networks of the reference's benchmark app
version: "1.0"
models:
  - path: models/unet_hippo
  - path: models/unet_ct
`, "\n")
