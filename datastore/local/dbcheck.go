package local

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"google.golang.org/protobuf/proto"
)

// checkTables looks whether Badger can open the tables that its manifest
// names. Badger itself ends the process on a damaged one, from a goroutine
// where nobody can step in.
//
// A table ends with: its index, the index' length, a checksum of the index,
// the checksum's length; lengths are 4 bytes, big-endian. Damaged data before
// that Badger reports as an error.
func checkTables(dir string) error {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename)) //nolint:gosec // a fixed name in the state folder
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a new index
	}
	if err != nil {
		return err
	}
	manifest, _, err := badger.ReplayManifestFile(f, 0, badger.DefaultOptions(dir))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("read manifest: %w", err)
	}
	for id := range manifest.Tables {
		if err := checkTable(table.NewFilename(id, dir)); err != nil {
			return fmt.Errorf("table %d: %w", id, err)
		}
	}
	return nil
}

func checkTable(path string) error {
	f, err := os.Open(path) //nolint:gosec // a file of the index
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	end := info.Size()
	var sum pb.Checksum
	raw, err := lastPart(f, &end)
	if err == nil {
		err = proto.Unmarshal(raw, &sum)
	}
	if err != nil {
		return fmt.Errorf("checksum: %w", err)
	}
	index, err := lastPart(f, &end)
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return y.VerifyChecksum(index, &sum)
}

// lastPart reads the bytes that lie before their length, which ends at end,
// and moves end before them.
func lastPart(f io.ReaderAt, end *int64) ([]byte, error) {
	var length [4]byte
	if *end < 4 {
		return nil, io.ErrUnexpectedEOF
	}
	if _, err := f.ReadAt(length[:], *end-4); err != nil {
		return nil, err
	}
	n := int64(binary.BigEndian.Uint32(length[:]))
	if n == 0 || n > *end-4 {
		return nil, fmt.Errorf("length %d of %d bytes", n, *end)
	}
	*end -= 4 + n
	raw := make([]byte, n)
	_, err := f.ReadAt(raw, *end)
	return raw, err
}
