package apps

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/voxloop/voxloop/datastore"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/imaging"
	"github.com/voxloop/voxloop/internal/imaging/codec"
	"github.com/voxloop/voxloop/internal/ordered"
)

// run is one inference on its way through the stages.
type run struct {
	app    *App
	model  infer.Info
	wishes wishes
	src    source

	labels    *imaging.LabelMap
	centroids *ordered.Map
	times     timings
	answer    *answer // what people will correct; nil: nothing is compared with it

	seen   *Uncertainty    // how sure the model is; nil when nobody asked
	volume *imaging.Volume // the voxel map that was asked for
}

// timings are the durations of the stages, in seconds where clients see them.
type timings struct {
	begin                  time.Time
	read, centroids, write time.Duration
	stages                 []infer.Stage
}

// segment reads the image and runs the network on it.
func (r *run) segment(ctx context.Context, label *Upload) error {
	start := time.Now()
	volumes, err := r.app.readImage(ctx, r.src)
	if err != nil {
		return err
	}
	in := infer.Input{Volumes: volumes, Guidance: r.wishes.guidance}
	if label != nil {
		if in.Previous, err = r.app.previous(ctx, label, volumes[0].Grid); err != nil {
			return err
		}
	}
	r.times.read = time.Since(start)
	out, err := r.infer(ctx, in)
	if err != nil {
		if ctx.Err() != nil {
			return fault.Wrap(fault.Canceled, err, "the caller went away")
		}
		return err
	}
	r.labels, r.times.stages = out.Labels, out.Stages
	r.model = out.Model // the version that answered; another one may have been in service when the request came
	start = time.Now()
	values := restoreValues(r.model.Labels, r.wishes.restore)
	if values != nil {
		for i, v := range r.labels.Data {
			r.labels.Data[i] = values[v] // 0 stays 0
		}
	}
	if r.src.id != "" && !r.wishes.save && label == nil && len(r.wishes.guidance) == 0 && r.volume == nil {
		r.answer = newAnswer(r, values)
	}
	r.centroids = centroids(r.labels)
	r.times.centroids = time.Since(start)
	return nil
}

// infer asks the model.
func (r *run) infer(ctx context.Context, in infer.Input) (*infer.Output, error) {
	if r.wishes.uncertain != nil {
		return r.measure(ctx, in)
	}
	return r.app.engine.Infer(ctx, r.model.Name, in, r.wishes.options)
}

// finish writes and saves the result.
func (r *run) finish(ctx context.Context, noFile bool) (_ *InferResult, err error) {
	res := &InferResult{Version: r.model.Version}
	defer func() {
		if err != nil {
			res.Close()
		}
	}()
	ext := r.resultExt()
	if t := r.dataType(); r.labels.Max() > largest(t) {
		return nil, fault.New(fault.Missing, "params.result_dtype: label value %d does not fit %s", r.labels.Max(), t)
	}
	start := time.Now()
	if r.wishes.write && !noFile {
		if res.File, err = r.writeFile(r.fileExt(ext)); err != nil {
			return nil, err
		}
	}
	r.times.write = time.Since(start)
	r.app.metrics.stages(r.model.Name, r.times)
	res.Params = ordered.Of("label_names", LabelNames(r.model.Labels), "latencies", r.times.object(), "centroids", r.centroids)
	if r.seen != nil {
		res.Params.Set("uncertainty", r.seen)
	}
	if r.wishes.save && r.src.id != "" {
		if err := r.save(ctx, ext, res); err != nil {
			return nil, err
		}
	}
	return res, nil
}

func (r *run) resultExt() string {
	ext := r.wishes.ext
	if ext == "" {
		ext = strings.ToLower(r.src.ext)
	}
	if !slices.Contains(resultExts, ext) {
		ext = ".nii.gz"
	}
	return ext
}

// dataType returns the type of the result's voxels: what the caller asked for,
// else the smallest unsigned integer that holds every label.
func (r *run) dataType() imaging.DataType {
	switch {
	case r.wishes.dtype != imaging.Unknown:
		return r.wishes.dtype
	case r.labels.Max() <= math.MaxUint8:
		return imaging.Uint8
	}
	return imaging.Uint16
}

// largest returns the largest label that a voxel type holds.
func largest(t imaging.DataType) uint16 {
	switch t {
	case imaging.Int8:
		return math.MaxInt8
	case imaging.Uint8:
		return math.MaxUint8
	case imaging.Int16:
		return math.MaxInt16
	default:
		return math.MaxUint16
	}
}

func (r *run) encode(w io.Writer, ext string) error {
	return codec.WriteLabels(w, ext, r.labels, r.dataType(), codec.WriteOptions{Compress: r.wishes.compress})
}

func (r *run) writeFile(ext string) (*Upload, error) {
	f, err := os.CreateTemp(r.app.tmp, "tmp*"+ext)
	if err != nil {
		return nil, diskFault(err, "writing the result")
	}
	u := &Upload{Name: filepath.Base(f.Name()), Path: f.Name()}
	b := bufio.NewWriterSize(writeOnly{f}, 1<<18)
	write := r.encode
	if r.volume != nil {
		write = r.encodeMap
	}
	if err = write(b, ext); err == nil {
		err = b.Flush()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		u.Remove()
		if fault.KindOf(err) != fault.Internal {
			return nil, err
		}
		return nil, diskFault(err, "writing the result")
	}
	return u, nil
}

// save keeps the result as a label of the stored image.
func (r *run) save(ctx context.Context, ext string, res *InferResult) error {
	if ext == ".seg.nrrd" {
		ext = ".nrrd"
	}
	_, err := r.app.store.SaveLabel(ctx, r.src.id, r.wishes.tag, datastore.LabelFile{
		Ext:   ext,
		Info:  ordered.Of("model", r.model.Name, "params", res.Params.Clone(), infoVersion, r.model.Version),
		Write: func(w io.Writer) error { return r.encode(w, ext) },
	})
	return err
}

// object returns the latencies as clients see them: seconds, rounded.
func (t timings) object() *ordered.Map {
	by := map[string]time.Duration{}
	for _, s := range t.stages {
		by[s.Name] += s.Duration
	}
	pre := ordered.Of("read", seconds(t.read, 4), "queue", seconds(by["queue"], 4), "prepare", seconds(by["prepare"], 4))
	network := ordered.Of("network", seconds(by["network"], 4), "blend", seconds(by["blend"], 4))
	post := ordered.Of("post", seconds(by["post"], 4), "centroids", seconds(t.centroids, 4))
	return ordered.Of(
		"pre", seconds(t.read+by["queue"]+by["prepare"], 2), "infer", seconds(by["network"]+by["blend"], 2), "invert", seconds(by["restore"], 2),
		"post", seconds(by["post"]+t.centroids, 2), "write", seconds(t.write, 2), "total", seconds(time.Since(t.begin), 2),
		"transform", ordered.Of("pre", pre, "infer", network, "post", post),
	)
}

// seconds formats a duration with at most digits decimals and at least one:
// clients tell whole seconds from integers by it.
func seconds(d time.Duration, digits int) json.Number {
	scale := math.Pow10(digits)
	s := strconv.FormatFloat(math.Round(d.Seconds()*scale)/scale, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return json.Number(s)
}

// centroids returns label_N → [N, x, y, z] as strings: the mean voxel index of
// every value that occurs, cut to integers.
func centroids(l *imaging.LabelMap) *ordered.Map {
	n := int(l.Max())
	sums := make([][4]int64, n+1)
	i := 0
	for z := range l.Size[2] {
		for y := range l.Size[1] {
			for x := range l.Size[0] {
				if v := l.Data[i]; v != 0 {
					s := &sums[v]
					s[0], s[1], s[2], s[3] = s[0]+1, s[1]+int64(x), s[2]+int64(y), s[3]+int64(z)
				}
				i++
			}
		}
	}
	out := &ordered.Map{}
	for v := 1; v <= n; v++ {
		s := sums[v]
		if s[0] == 0 {
			continue
		}
		c := []string{strconv.Itoa(v)}
		for k := 1; k <= 3; k++ {
			c = append(c, strconv.FormatInt(s[k]/s[0], 10))
		}
		out.Set("label_"+strconv.Itoa(v), c)
	}
	return out
}
