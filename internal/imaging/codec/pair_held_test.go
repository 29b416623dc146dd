package codec

import (
	"os"
	"path/filepath"
	"testing"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// expect compares a folder's files, hidden ones too, with names and contents.
func expect(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(want) {
		t.Errorf("the folder holds %v, want %v", entries, want)
	}
	for name, text := range want {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != text {
			t.Errorf("%s: %q, %v, want %q", name, got, err, text)
		}
	}
}

// Whatever happens to a pair's header after its voxels have been replaced, the
// earlier pair comes back, or nothing stays.
func TestHeldPair(t *testing.T) {
	for _, earlier := range []map[string]string{
		{"a.hdr": "old header", "a.img": "old voxels"}, {"a.img": "old voxels"}, {"a.hdr": "old header"}, {},
	} {
		dir := t.TempDir()
		for name, text := range earlier {
			write(t, filepath.Join(dir, name), text)
		}
		hdr, img := filepath.Join(dir, "a.hdr"), filepath.Join(dir, "a.img")
		for _, fails := range []bool{true, false} {
			p, err := holdPair(hdr, img)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.begin(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(hdr); err == nil {
				t.Error("the earlier header stands beside the new voxels")
			}
			write(t, img+".new", "new voxels")
			if err := os.Rename(img+".new", img); err != nil {
				t.Fatal(err)
			}
			want := earlier
			if !fails {
				write(t, hdr, "new header")
				want = map[string]string{"a.hdr": "new header", "a.img": "new voxels"}
			}
			if err := p.release(fails); err != nil {
				t.Error(err)
			}
			expect(t, dir, want)
		}
	}
}

// A folder in the way is found before anything is touched.
func TestHeldPairRefusesFolders(t *testing.T) {
	dir := t.TempDir()
	hdr, img := filepath.Join(dir, "a.hdr"), filepath.Join(dir, "a.img")
	write(t, hdr, "old header")
	if err := os.Mkdir(img, 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := holdPair(hdr, img); err == nil {
		t.Error("no error")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("the folder holds %v", entries)
	}
}
