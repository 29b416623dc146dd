package apps

import (
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/trainers"
	proof "github.com/voxloop/voxloop/trainers/gate"
)

// Files of a model card in the folder of its version. The hash that names the
// version does not cover them.
const (
	cardJSON = "card.json"
	cardText = "card.md"
)

// Card is what is known about a version of a model: what it is for, what it was
// trained on, and how it did on cases that it had not seen.
type Card struct {
	Model     string    `json:"model"`
	Version   string    `json:"version"`
	App       bool      `json:"app,omitempty"` // came with the app
	Parent    string    `json:"parent,omitempty"`
	Created   time.Time `json:"created,omitzero"`
	Origin    string    `json:"origin"`
	Reason    string    `json:"reason,omitempty"`
	InService bool      `json:"in_service"`
	Checksum  string    `json:"network_sha256,omitempty"`
	Bytes     int64     `json:"network_bytes,omitempty"`

	Description string            `json:"description,omitempty"`
	Modality    string            `json:"modality,omitempty"`
	Licence     string            `json:"licence,omitempty"`
	Labels      []CardLabel       `json:"labels"`
	Provenance  map[string]string `json:"provenance,omitempty"` // of the manifest, without the keys below
	IntendedUse string            `json:"intended_use"`         // the manifest's provenance.intended_use
	Limitations string            `json:"limitations"`          // and provenance.limitations

	Training *CardTraining `json:"training"` // nil: it was not trained here
	HoldOut  *CardHoldOut  `json:"hold_out"` // nil: it was not judged
	Written  time.Time     `json:"written"`
}

// CardLabel is a class that the model finds.
type CardLabel struct {
	Name  string `json:"name"`
	Value int    `json:"value"` // in label files
}

// CardTraining tells of a training.json.
type CardTraining struct {
	Begun      string             `json:"parent,omitempty"` // version that it began from
	Cases      int                `json:"cases"`
	Subjects   int                `json:"subjects"`
	Validation int                `json:"validation_cases"`
	Data       string             `json:"data,omitempty"` // fingerprint of the cases, images and labels
	Steps      int                `json:"steps"`
	Epochs     int                `json:"epochs"`
	Batch      int                `json:"batch,omitempty"`
	Patch      [3]int             `json:"patch"`
	Seed       uint64             `json:"seed"`
	Seconds    float64            `json:"seconds"`
	Dice       map[string]float64 `json:"dice,omitempty"` // of the validation cases
	Mean       float64            `json:"mean_dice,omitempty"`
	Code       trainers.Code      `json:"code"`
	Library    trainers.Library   `json:"library"`
	Warnings   []string           `json:"warnings,omitempty"`
}

// CardHoldOut tells of the gate's verdict.
type CardHoldOut struct {
	Against string        `json:"against"`
	Time    time.Time     `json:"time"`
	Cases   int           `json:"cases"`
	Verdict proof.Verdict `json:"verdict"`
}

// ModelCard returns the card of a version: an id, the start of one, AppVersion,
// or "" for the one in service. Errors: fault.NotFound.
func (a *App) ModelCard(model, version string) (Card, error) {
	e, err := a.versions()
	if err != nil {
		return Card{}, err
	}
	all, err := e.Versions(model)
	if err != nil {
		return Card{}, err
	}
	i := slices.IndexFunc(all, func(v infer.Version) bool {
		switch version {
		case "":
			return v.InService
		case infer.AppVersion:
			return v.App
		}
		return len(version) >= 4 && strings.HasPrefix(v.ID, version)
	})
	if i < 0 {
		return Card{}, fault.New(fault.NotFound, "model %s has no version %q", clip(model), clip(version))
	}
	return a.card(model, all[i])
}

func (a *App) card(model string, v infer.Version) (Card, error) {
	c := Card{
		Model: model, Version: v.ID, App: v.App, Parent: v.Parent, Created: v.Created, Origin: string(v.Origin), Reason: v.Reason, InService: v.InService,
		Checksum: v.Checksum, Bytes: v.Bytes, Labels: []CardLabel{}, Written: time.Now().UTC().Truncate(time.Second),
	}
	fsys, err := a.versionFS(model, v)
	if err != nil {
		return c, err
	}
	text, err := fs.ReadFile(fsys, infer.ManifestFile)
	if err != nil {
		return c, fault.Wrap(fault.NotFound, err, "the manifest of version %s cannot be read", v.ID)
	}
	m, err := infer.ParseManifest(text)
	if err != nil {
		return c, err
	}
	c.describe(m)
	c.Training = cardTraining(v.Training)
	var j Judgement
	if loadJSON(a.loop.verdictFile(model, v.ID), &j) == nil {
		c.HoldOut = &CardHoldOut{Against: j.Against, Time: j.Time, Cases: j.Verdict.Mean.Cases, Verdict: j.Verdict}
	}
	return c, nil
}

// versionFS is where a version's files lie.
func (a *App) versionFS(model string, v infer.Version) (fs.FS, error) {
	if !v.App {
		return os.DirFS(a.versionDir(model, v.ID)), nil
	}
	i := slices.IndexFunc(a.refs, func(m ModelRef) bool { return m.Name == model })
	if i < 0 {
		return nil, fault.New(fault.NotFound, "there is no model %q", clip(model))
	}
	fsys, err := fs.Sub(a.fsys, strings.TrimSuffix(a.refs[i].Path, "/"))
	if err != nil {
		return nil, fault.Wrap(fault.NotFound, err, "the app's model %s cannot be read", model)
	}
	return fsys, nil
}

func (a *App) versionDir(model, id string) string {
	return filepath.Join(infer.ShelfDir(filepath.Join(a.opts.State, "models"), model), id)
}

const notStated = "Not stated."

func (c *Card) describe(m *infer.Manifest) {
	c.Description, c.Modality, c.Licence = m.Description, m.Modality, m.Licence
	for _, l := range m.Labels {
		if l.Value != 0 {
			c.Labels = append(c.Labels, CardLabel{l.Name, l.Value})
		}
	}
	c.IntendedUse, c.Limitations = notStated, notStated
	for key, text := range m.Provenance {
		switch key {
		case "intended_use":
			c.IntendedUse = text
		case "limitations":
			c.Limitations = text
		default:
			if c.Provenance == nil {
				c.Provenance = map[string]string{}
			}
			c.Provenance[key] = text
		}
	}
}

func cardTraining(record json.RawMessage) *CardTraining {
	var r trainers.Record
	if record == nil || json.Unmarshal(record, &r) != nil {
		return nil
	}
	t := &CardTraining{
		Begun: r.Parent, Data: r.Data, Steps: r.Steps, Epochs: len(r.Epochs), Batch: r.Batch, Patch: r.Patch, Seed: r.Config.Seed, Seconds: r.Seconds,
		Dice: r.Dice, Mean: r.Mean, Code: r.Code, Library: r.Library, Warnings: r.Warnings,
	}
	subjects := map[string]bool{}
	for _, k := range r.Cases {
		if k.Role == trainers.Validate {
			t.Validation++
			continue
		}
		t.Cases++
		who := k.Subject
		if who == "" {
			who = k.ID
		}
		subjects[who] = true
	}
	t.Subjects = len(subjects)
	return t
}

// writeCard writes the card of a version that has gone into service beside it.
func (l *loop) writeCard(model string, s infer.Swap) {
	if s.Refused != "" || s.To == infer.AppVersion {
		return // the app's own folder is not ours
	}
	c, err := l.app.ModelCard(model, s.To)
	if err == nil && !c.App {
		err = c.write(l.app.versionDir(model, c.Version))
	}
	if err != nil {
		l.log.Warn("the model card cannot be written", "model", model, "version", s.To, "err", err)
	}
}

func (c *Card) write(dir string) error {
	if err := writeJSON(filepath.Join(dir, cardJSON), c); err != nil {
		return err
	}
	return diskFault(atomicfile.Write(filepath.Join(dir, cardText), 0o640, func(w io.Writer) error {
		_, err := io.WriteString(w, c.Markdown())
		return err
	}), "writing the model card")
}
