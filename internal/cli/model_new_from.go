package cli

import (
	"fmt"

	"github.com/voxloop/voxloop/internal/onnx"
	"github.com/voxloop/voxloop/trainers/design"
)

// modelFromReport is what `voxloop model new --from --json` prints.
type modelFromReport struct {
	Model string   `json:"model"`
	Kept  []string `json:"kept"`
	New   []string `json:"new"`
	Gone  []string `json:"gone"`
}

// runModelFrom gives the network of a model folder other classes.
func runModelFrom(s streams, f modelNewFlags, labels map[string]int) error {
	manifest, err := readModelFile(f.from, design.ManifestFile)
	if err != nil {
		return err
	}
	network, err := readModelFile(f.from, design.NetworkFile)
	if err != nil {
		return err
	}
	m, err := onnx.Parse(network)
	if err != nil {
		return err
	}
	change, err := design.Reclass(manifest, labels, design.Labelling{Name: f.name, Seed: f.seed})
	if err != nil {
		return err
	}
	if m, err = design.Surgery(m, change.Change, f.seed); err != nil {
		return err
	}
	if err := writeModel(f.out, []design.File{{Name: design.NetworkFile, Data: m.Bytes()}, {Name: design.ManifestFile, Data: change.Manifest}}); err != nil {
		return err
	}
	if f.json {
		return printJSON(s.out, modelFromReport{f.out, change.Kept, change.New, change.Gone})
	}
	_, err = fmt.Fprintf(s.out, "%s: %d classes keep what they have learned %q, %d are new %q, %d are gone %q\n",
		f.out, len(change.Kept), change.Kept, len(change.New), change.New, len(change.Gone), change.Gone)
	return err
}
