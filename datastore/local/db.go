package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"golang.org/x/sys/unix"

	"github.com/voxloop/voxloop/internal/fault"
)

const (
	memTable = 4 << 20 // bytes of one Badger memtable; its log file is twice as large, sparse

	// Badger writes through memory maps: a full disk is a SIGBUS there, not an
	// error. So we never write when less than this is free, beside room for a
	// compaction, and keep a reserve file that is given up for an orderly close.
	minFree     = 4 * memTable
	reserveSize = 2 * memTable

	maxRecord = 8 << 20 // bytes of one record; larger infos are refused
)

// db is the Badger index: a cache of what the folder and datastore_v2.json
// say, plus what only we know. It may be deleted while no server runs.
type db struct {
	badger  *badger.DB
	dir     string
	reserve string
	log     *slog.Logger
}

// change is one record to write; a nil value deletes it.
type change struct {
	key   string
	value []byte
}

// openDB opens the index below state. One that Badger cannot open is put aside
// as db.broken and replaced by an empty one.
func openDB(state string, noSync bool, log *slog.Logger) (*db, error) {
	d := &db{dir: filepath.Join(state, "db"), reserve: filepath.Join(state, "db.reserve"), log: log}
	if err := os.MkdirAll(d.dir, 0o750); err != nil {
		return nil, diskFault(err, "the state folder")
	}
	if err := d.room(); err != nil {
		return nil, err
	}
	if err := d.open(noSync); err != nil {
		if kind := fault.KindOf(diskFault(err, "")); kind != fault.Internal {
			return nil, diskFault(err, "the state folder")
		}
		if err := d.putAside(err); err != nil {
			return nil, err
		}
		if err := d.open(noSync); err != nil {
			return nil, fmt.Errorf("open a new index in %s: %w", d.dir, err)
		}
	}
	return d, d.makeReserve()
}

// putAside replaces the folder of a broken index by an empty one.
func (d *db) putAside(cause error) error {
	broken := d.dir + ".broken"
	d.log.Warn("the index of the datastore is damaged; it is rebuilt from the files", "kept", broken, "cause", cause)
	if err := os.RemoveAll(broken); err != nil {
		return err
	}
	if err := os.Rename(d.dir, broken); err != nil {
		return err
	}
	return os.MkdirAll(d.dir, 0o750)
}

func (d *db) open(noSync bool) (err error) {
	defer func() {
		if p := recover(); p != nil { // Badger panics on some damaged files
			err = fmt.Errorf("open index: %v", p)
		}
	}()
	if err := checkTables(d.dir); err != nil {
		return err
	}
	o := badger.DefaultOptions(d.dir).
		WithLogger(badgerLog{d.log}).
		WithSyncWrites(!noSync).
		WithMemTableSize(memTable).
		WithNumMemtables(2).
		WithValueThreshold(64 << 10).
		WithValueLogFileSize(2 * maxRecord).
		WithNumCompactors(2).
		WithNumGoroutines(1).
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithIndexCacheSize(0).
		WithMetricsEnabled(false).
		WithDetectConflicts(false).
		WithChecksumVerificationMode(options.OnBlockRead).
		WithVerifyValueChecksum(true)
	b, err := badger.Open(o)
	if err != nil {
		return err
	}
	if err := verify(b); err != nil {
		return errors.Join(err, b.Close())
	}
	d.badger = b
	return nil
}

// verify reads every block once: an iterator would end silently at a damaged
// one.
func verify(b *badger.DB) (err error) {
	defer func() {
		if p := recover(); p != nil { // so Badger reacts to some damaged blocks
			err = fmt.Errorf("verify index: %v", p)
		}
	}()
	return b.VerifyChecksum()
}

// makeReserve writes real blocks, so that deleting the file frees them.
func (d *db) makeReserve() error {
	if st, err := os.Stat(d.reserve); err == nil && st.Size() == reserveSize {
		return nil
	}
	f, err := os.Create(d.reserve)
	if err != nil {
		return diskFault(err, "the state folder")
	}
	_, err = io.CopyN(f, zeros{}, reserveSize)
	if err = errors.Join(err, f.Close()); err != nil {
		return diskFault(errors.Join(err, os.Remove(d.reserve)), "the state folder")
	}
	return nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// free returns the bytes that this process may still write beside the index.
func (d *db) free() (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(d.dir, &st); err != nil {
		return 0, fmt.Errorf("look for free space: %w", err)
	}
	return st.Bavail * uint64(st.Bsize), nil //nolint:gosec,unconvert // the type differs between systems; never negative
}

// room refuses to go on when the disk is nearly full.
func (d *db) room() error {
	free, err := d.free()
	if err != nil {
		return err
	}
	need := uint64(minFree)
	if d.badger != nil {
		lsm, _ := d.badger.Size()
		need += uint64(max(lsm, 0))
	}
	if free < need {
		return fault.Wrap(fault.NoSpace, syscall.ENOSPC,
			"the disk is full: %d MiB are free where the state is kept, %d MiB are needed; free some space and send it again", free>>20, need>>20)
	}
	return nil
}

// write stores all changes at once, durably.
func (d *db) write(changes []change) error {
	if len(changes) == 0 {
		return nil
	}
	if err := d.room(); err != nil {
		return err
	}
	for _, c := range changes {
		if len(c.value) > maxRecord {
			return fault.New(fault.TooLarge, "the info of an image or label has %d bytes; at most %d are kept", len(c.value), maxRecord)
		}
	}
	err := d.badger.Update(func(t *badger.Txn) error {
		for _, c := range changes {
			if err := c.put(t.Set, t.Delete); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, badger.ErrTxnTooBig) {
		err = d.writeBatch(changes)
	}
	if err != nil {
		return diskFault(fmt.Errorf("write index: %w", err), "the index")
	}
	return nil
}

// writeBatch stores more changes than one transaction holds. A kill may leave
// a part of them; the next start finds the rest in the folder again.
func (d *db) writeBatch(changes []change) error {
	b := d.badger.NewWriteBatch()
	defer b.Cancel()
	for _, c := range changes {
		if err := c.put(b.Set, b.Delete); err != nil {
			return err
		}
	}
	return b.Flush()
}

func (c change) put(set func(k, v []byte) error, del func(k []byte) error) error {
	if c.value == nil {
		return del([]byte(c.key))
	}
	return set([]byte(c.key), c.value)
}

// each calls fn for every record below prefix, in key order. The value is
// valid during the call.
func (d *db) each(prefix string, fn func(key string, value []byte) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read index: %v", p)
		}
	}()
	return d.badger.View(func(t *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.Prefix = []byte(prefix)
		it := t.NewIterator(o)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			key := string(it.Item().Key())
			if err := it.Item().Value(func(v []byte) error { return fn(key, v) }); err != nil {
				return fmt.Errorf("record %s: %w", key, err)
			}
		}
		return nil
	})
}

// close flushes and closes the index. Space that it needs for that on a full
// disk comes from the reserve.
func (d *db) close() error {
	if free, err := d.free(); err == nil && free < reserveSize {
		_ = os.Remove(d.reserve)
	}
	for d.badger.RunValueLogGC(0.5) == nil { //nolint:revive // each round drops one old value log file
	}
	return d.badger.Close()
}

// badgerLog sends Badger's talk to the debug level, its complaints to warn.
type badgerLog struct{ log *slog.Logger }

func (b badgerLog) Errorf(f string, a ...any)   { b.say(slog.LevelWarn, f, a) }
func (b badgerLog) Warningf(f string, a ...any) { b.say(slog.LevelDebug, f, a) }
func (b badgerLog) Infof(f string, a ...any)    { b.say(slog.LevelDebug, f, a) }
func (b badgerLog) Debugf(f string, a ...any)   { b.say(slog.LevelDebug, f, a) }

func (b badgerLog) say(l slog.Level, format string, args []any) {
	b.log.Log(context.Background(), l, "badger", "text", strings.TrimSpace(fmt.Sprintf(format, args...)))
}
