// Command engine trains one network on the same batches in both engines and
// judges both by the pipeline that serves: the check that our training step
// learns as PyTorch's does.
//
//	engine -python PYTHON -studies DIR -golden DIR -work DIR -steps 300 -seeds 3 -csv FILE
//
// Per seed: batches without augmentation in an order that the seed decides, the
// golden network's own initial weights, DiceCE, AdamW at a constant rate; the
// cases of fold 0 of 5 validate. It prints a table and writes the Dice of every
// case.
package main

import (
	"context"
	"encoding/binary"
	"encoding/csv"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/internal/ort"
	"github.com/voxloop/voxloop/trainers"
	"github.com/voxloop/voxloop/trainers/native"
)

const rate = 1e-3

// size is a training patch, and a window of the validation.
var size = [3]int{32, 48, 32}

const batchSize = 2

const manifest = `description: engine comparison
inputs:
  - source: image[MR]
    normalize:
      - zscore: {voxels: all, scope: channel}
orientation: RAS
window: {size: [32, 48, 32], overlap: 0.25, blend: gaussian}
outputs:
  - {activation: softmax}
labels:
  - {name: anterior, value: 1}
  - {name: posterior, value: 2}
`

type options struct {
	python, studies, golden, work, csv string
	steps, seeds                       int
}

func main() {
	var o options
	flag.StringVar(&o.python, "python", "python3", "Python with PyTorch, MONAI and onnx")
	flag.StringVar(&o.studies, "studies", "", "folder with images, and labels in labels/final")
	flag.StringVar(&o.golden, "golden", "", "folder of the golden network")
	flag.StringVar(&o.work, "work", "", "folder for batches and networks")
	flag.StringVar(&o.csv, "csv", "", "file for the Dice of every case")
	flag.IntVar(&o.steps, "steps", 300, "training steps")
	flag.IntVar(&o.seeds, "seeds", 3, "number of seeds")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "engine:", err)
		os.Exit(1)
	}
}

// lab is what all seeds share.
type lab struct {
	o          options
	rt         *ort.Runtime
	data       trainers.Data
	train, val []trainers.Case
	out        *csv.Writer
}

func run(ctx context.Context, o options) error {
	l, closeAll, err := open(ctx, o)
	if err != nil {
		return err
	}
	defer closeAll()
	fmt.Printf("%d cases train, %d validate, %d steps of %d×%d×%d×%d\n", len(l.train), len(l.val), o.steps, batchSize, size[0], size[1], size[2])
	fmt.Println("| seed | Voxloop | PyTorch | difference |\n|---|---|---|---|")
	for seed := 1; seed <= o.seeds; seed++ {
		ours, theirs, err := l.seed(ctx, seed)
		if err != nil {
			return err
		}
		fmt.Printf("| %d | %.4f | %.4f | %+.4f |\n", seed, ours, theirs, ours-theirs)
	}
	l.out.Flush()
	return l.out.Error()
}

func open(ctx context.Context, o options) (*lab, func(), error) {
	folder := filepath.Join(o.work, "model")
	network, err := os.ReadFile(filepath.Join(o.golden, "model.onnx"))
	if err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return nil, nil, err
	}
	for name, data := range map[string][]byte{"manifest.yaml": []byte(manifest), "model.onnx": network} {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
			return nil, nil, err
		}
	}
	lib, err := ort.Ensure(ctx, ort.InstallOptions{})
	if err != nil {
		return nil, nil, err
	}
	rt, err := ort.Open(lib)
	if err != nil {
		return nil, nil, err
	}
	data, err := apps.OpenTrainingData(ctx, os.DirFS(folder), apps.TrainingDataOptions{
		Runtime: func(context.Context) (*ort.Runtime, error) { return rt, nil },
	})
	if err != nil {
		return nil, nil, err
	}
	l := &lab{o: o, rt: rt, data: trainers.NewCache(data, 1<<30)}
	if err := l.split(ctx); err != nil {
		return nil, nil, err
	}
	f, err := os.Create(o.csv)
	if err != nil {
		return nil, nil, err
	}
	l.out = csv.NewWriter(f)
	_ = l.out.Write([]string{"seed", "engine", "case", "label", "dice"}) // Flush tells of errors
	return l, func() { _, _ = l.data.Close(), f.Close() }, nil
}

func (l *lab) split(ctx context.Context) error {
	found, err := apps.StudiesCases(ctx, apps.StudiesOptions{Studies: l.o.studies})
	if err != nil {
		return err
	}
	cases, err := trainers.Fold(found.Cases, 0, 5)
	if err != nil {
		return err
	}
	for _, c := range cases {
		if c.Role == trainers.Validate {
			l.val = append(l.val, c)
		} else {
			l.train = append(l.train, c)
		}
	}
	return nil
}

// seed trains in both engines and returns the mean Dice of each.
func (l *lab) seed(ctx context.Context, seed int) (ours, theirs float64, err error) {
	dir := filepath.Join(l.o.work, "seed"+strconv.Itoa(seed))
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return 0, 0, err
	}
	trained, err := l.ours(ctx, dir, seed)
	if err != nil {
		return 0, 0, err
	}
	if ours, err = l.score(ctx, trained, seed, "voxloop"); err != nil {
		return 0, 0, err
	}
	other := filepath.Join(dir, "pytorch.onnx")
	c := exec.CommandContext(ctx, l.o.python, filepath.Join("internal", "bench", "trainstep", "engine.py"), //nolint:gosec // programs that this bench is made of
		"--golden", filepath.Join(l.o.golden, "golden.json"), "--model", filepath.Join(l.o.golden, "model.onnx"),
		"--batches", dir, "--rate", fmt.Sprint(rate), "--threads", strconv.Itoa(runtime.NumCPU()), "--out", other)
	if text, err := c.CombinedOutput(); err != nil {
		return 0, 0, fmt.Errorf("PyTorch: %w\n%s", err, text)
	}
	b, err := os.ReadFile(other) //nolint:gosec // written just now
	if err != nil {
		return 0, 0, err
	}
	network, err := onnx.Parse(b)
	if err != nil {
		return 0, 0, err
	}
	theirs, err = l.score(ctx, network, seed, "pytorch")
	return ours, theirs, err
}

// ours trains natively and leaves the batches in dir.
func (l *lab) ours(ctx context.Context, dir string, seed int) (*onnx.Model, error) {
	o := native.Options{Shape: []int64{batchSize, 1, int64(size[0]), int64(size[1]), int64(size[2])}}
	o.Lanes = o.LanesFor(ort.Cores()) // as a training does
	p, err := native.Compile(l.data.Spec().Network, o)
	if err != nil {
		return nil, err
	}
	s, err := p.Open(l.rt, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	loader, err := trainers.NewLoader(ctx, trainers.LoaderOptions{
		Data: l.data, Cases: l.train, Patch: size, Batch: batchSize, Seed: uint64(seed), //nolint:gosec // small
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = loader.Close() }()
	shape := fmt.Sprintf("%d, %d, 1, %d, %d, %d", l.o.steps, batchSize, size[0], size[1], size[2])
	x, err := newNPY(filepath.Join(dir, "x.npy"), "<f4", shape)
	if err != nil {
		return nil, err
	}
	defer func() { _ = x.Close() }()
	y, err := newNPY(filepath.Join(dir, "y.npy"), "|u1", shape)
	if err != nil {
		return nil, err
	}
	defer func() { _ = y.Close() }()
	for i := range l.o.steps {
		b, err := loader.Next(ctx, i)
		if err != nil {
			return nil, err
		}
		labels := make([]byte, len(b.Labels))
		for k, v := range b.Labels {
			labels[k] = byte(v)
		}
		if err := binary.Write(x, binary.LittleEndian, b.X); err != nil {
			return nil, err
		}
		if _, err := y.Write(labels); err != nil {
			return nil, err
		}
		if _, err := s.Run(ctx, b.X, b.Labels, rate); err != nil {
			return nil, err
		}
	}
	return s.Model(), nil
}

// newNPY begins a NumPy file of the given type and shape.
func newNPY(path, dtype, shape string) (io.WriteCloser, error) {
	f, err := os.Create(path) //nolint:gosec // in the work folder
	if err != nil {
		return nil, err
	}
	head := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", dtype, shape)
	head += strings.Repeat(" ", 63-(10+len(head))%64) + "\n"
	_, err = fmt.Fprintf(f, "\x93NUMPY\x01\x00%s%s", binary.LittleEndian.AppendUint16(nil, uint16(len(head))), head) //nolint:gosec // some hundred bytes
	return f, err
}

func (l *lab) score(ctx context.Context, network *onnx.Model, seed int, engine string) (float64, error) {
	var all []float64
	err := l.data.Score(ctx, network, l.val, func(s trainers.Score) {
		names := make([]string, 0, len(s.Dice))
		for name := range s.Dice {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			all = append(all, s.Dice[name])
			_ = l.out.Write([]string{strconv.Itoa(seed), engine, s.ID, name, strconv.FormatFloat(s.Dice[name], 'f', 6, 64)}) // Flush tells of errors
		}
	})
	if err != nil {
		return 0, err
	}
	var sum float64
	for _, v := range all {
		sum += v
	}
	return sum / float64(max(1, len(all))), nil
}
