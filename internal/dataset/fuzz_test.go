package dataset

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/voxloop/voxloop/internal/fault"
)

// FuzzArchives unpacks damaged archives: whatever comes, nothing panics, errors
// are the archive's, and no member is longer than it declares.
func FuzzArchives(f *testing.F) {
	t := &testing.T{}
	entries := []entry{
		{name: "imagesTr/x.nii.gz", data: []byte("image")},
		{name: "labelsTr/x.nii.gz", data: []byte("label")},
		{name: "dataset.json", data: []byte(twoClasses)},
	}
	whole := tarOf(t, entries...)
	for _, seed := range [][]byte{whole, gzipOf(t, whole), zipOf(t, entries...)} {
		f.Add(seed)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		from := filepath.Join(dir, "a")
		if err := os.WriteFile(from, data, 0o600); err != nil {
			t.Fatal(err)
		}
		err := walk(t.Context(), from, func(m member) error {
			r, err := m.open()
			if err != nil {
				return err
			}
			defer r.Close()
			if n, err := io.Copy(io.Discard, io.LimitReader(r, 1<<20)); err == nil && n > m.size {
				t.Errorf("%q declares %d bytes and has %d", m.name, m.size, n)
			}
			return nil
		})
		if k := fault.KindOf(err); err != nil && k != fault.Invalid && k != fault.TooLarge {
			t.Errorf("kind %v: %v", k, err)
		}
	})
}
