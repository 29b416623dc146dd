package apps

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/voxloop/voxloop/internal/atomicfile"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

// Sessions keeps temporary images on disk: a folder per session with the image
// and meta.info. They survive restarts and expire when unused.
type Sessions struct {
	dir    string
	opts   SessionOptions
	limit  int64 // bytes of one unpacked archive
	log    *slog.Logger
	clock  *uuidClock
	mu     sync.Mutex // guards the meta.info files
	now    func() time.Time
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// Session is one temporary image.
type Session struct {
	ID         string
	Dir        string // absolute
	Image      string // absolute path of the file, or of a folder with several
	Meta       *ordered.Map
	Created    int64 // Unix seconds
	LastAccess int64 // Unix seconds
	Expiry     int64 // seconds
}

// Object returns the session as clients see it.
func (s Session) Object() *ordered.Map {
	return ordered.Of("name", s.ID, "path", s.Dir, "image", s.Image, "meta", s.Meta,
		"create_ts", s.Created, "last_access_ts", s.LastAccess, "expiry", s.Expiry)
}

// ErrSessionsOff is returned by every method while the feature is switched off.
var ErrSessionsOff = fault.New(fault.Unavailable, "Session Feature is Not Enabled")

const (
	metaFile      = "meta.info"
	sweepInterval = 5 * time.Minute
)

var sessionID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// openSessions removes what has expired and starts the sweep; close ends it.
func openSessions(dir string, opts SessionOptions, limit int64, log *slog.Logger) (*Sessions, error) {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Sessions{dir: dir, opts: opts, limit: limit, log: log, clock: newUUIDClock(), now: time.Now, cancel: cancel}
	if !opts.Enabled {
		return s, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		cancel()
		return nil, diskFault(err, "making the sessions folder")
	}
	s.sweep()
	s.wg.Go(func() {
		t := time.NewTicker(sweepInterval)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				s.sweep()
			}
		}
	})
	return s, nil
}

func (s *Sessions) close() {
	s.cancel()
	s.wg.Wait()
}

// Create stores the uploaded files as a session. One file is the image; of
// several the image is the folder that holds them, and so it is for an archive
// that is unpacked. expiry is in seconds; at most 0 means the default, more
// than the configured time is cut to it.
func (s *Sessions) Create(files []*Upload, uncompress bool, expiry int64) (Session, error) {
	if !s.opts.Enabled {
		return Session{}, ErrSessionsOff
	}
	longest := int64(s.opts.Expiry / time.Second)
	if expiry <= 0 || expiry > longest {
		expiry = longest
	}
	now := s.now()
	id := s.clock.next(now)
	ses := Session{
		ID: id, Dir: filepath.Join(s.dir, id), Meta: &ordered.Map{},
		Created: now.Unix(), LastAccess: now.Unix(), Expiry: expiry,
	}
	if err := os.Mkdir(ses.Dir, 0o700); err != nil {
		return Session{}, diskFault(err, "making the session")
	}
	err := s.fill(&ses, files, uncompress)
	if err == nil {
		s.mu.Lock()
		err = s.save(ses)
		s.mu.Unlock()
	}
	if err != nil {
		_ = os.RemoveAll(ses.Dir)
		return Session{}, err
	}
	return ses, nil
}

// fill puts the files into the session's folder and names its image.
func (s *Sessions) fill(ses *Session, files []*Upload, uncompress bool) error {
	if uncompress && len(files) != 1 {
		return fault.New(fault.Missing, "uncompress takes one archive; %d files were sent", len(files))
	}
	target := ses.Dir
	if uncompress || len(files) > 1 {
		dir, err := os.MkdirTemp(ses.Dir, "tmp")
		if err != nil {
			return diskFault(err, "making the session")
		}
		target, ses.Image = dir, dir
	}
	if uncompress {
		return unzip(files[0].Path, target, s.limit)
	}
	seen := map[string]bool{}
	for _, u := range files {
		name := u.Name
		if err := checkFileName(name); err != nil {
			return err
		}
		if seen[name] {
			return fault.New(fault.Invalid, "two files are called %q", clip(name))
		}
		seen[name] = true
		path := filepath.Join(target, name)
		if err := os.Rename(u.Path, path); err != nil {
			return diskFault(err, "storing the session's file")
		}
		if len(files) == 1 {
			ses.Image = path
		}
	}
	return nil
}

// checkFileName refuses names that are none, or that are ours.
func checkFileName(name string) error {
	if name == "" || name == metaFile || name[0] == '.' || len(name) > 200 || filepath.Base(name) != name || !filepath.IsLocal(name) {
		return fault.New(fault.Invalid, "the file name %q cannot be used", clip(name))
	}
	return nil
}

// save writes meta.info. The caller holds mu.
func (s *Sessions) save(ses Session) error {
	data, err := ordered.Marshal(ses.Object())
	if err != nil {
		return fault.Wrap(fault.Internal, err, "the session cannot be written")
	}
	err = atomicfile.Write(filepath.Join(ses.Dir, metaFile), 0o600, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	return diskFault(err, "storing the session")
}

// Get returns a session; touch renews its life. Unknown, expired and emptied
// sessions are NotFound.
func (s *Sessions) Get(id string, touch bool) (Session, error) {
	if !s.opts.Enabled {
		return Session{}, ErrSessionsOff
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ses, err := s.load(id)
	if err != nil || !touch {
		return ses, err
	}
	ses.LastAccess = s.now().Unix()
	return ses, s.save(ses)
}

// Remove deletes a session and returns what it was.
func (s *Sessions) Remove(id string) (Session, error) {
	if !s.opts.Enabled {
		return Session{}, ErrSessionsOff
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ses, err := s.load(id)
	if err != nil {
		return Session{}, err
	}
	return ses, diskFault(os.RemoveAll(ses.Dir), "removing the session")
}

// load reads a session that is alive. The caller holds mu.
func (s *Sessions) load(id string) (Session, error) {
	unknown := fault.New(fault.NotFound, "Session (%s) Not Found", clip(id))
	if !sessionID.MatchString(id) {
		return Session{}, unknown
	}
	dir := filepath.Join(s.dir, id)
	data, err := os.ReadFile(filepath.Join(dir, metaFile)) //nolint:gosec // id is a UUID
	if errors.Is(err, fs.ErrNotExist) {
		return Session{}, unknown
	}
	if err != nil {
		return Session{}, diskFault(err, "reading the session")
	}
	ses, err := parseSession(id, dir, data)
	if err != nil {
		return Session{}, fault.Wrap(fault.NotFound, err, "Session (%s) Not Found", id)
	}
	if _, err := os.Stat(ses.Image); err != nil || ses.LastAccess+ses.Expiry < s.now().Unix() {
		_ = os.RemoveAll(dir)
		return Session{}, unknown
	}
	return ses, nil
}

// parseSession reads a meta.info. The image must lie in the session's folder:
// its path is taken relative to it, so a state folder can be moved.
func parseSession(id, dir string, data []byte) (Session, error) {
	m, err := ordered.Parse(data)
	if err != nil {
		return Session{}, err
	}
	ses := Session{ID: id, Dir: dir, Meta: m.Sub("meta")}
	if ses.Meta == nil {
		ses.Meta = &ordered.Map{}
	}
	name := filepath.Base(m.String("image"))
	if err := checkFileName(name); err != nil {
		return Session{}, err
	}
	ses.Image = filepath.Join(dir, name)
	for key, dst := range map[string]*int64{"create_ts": &ses.Created, "last_access_ts": &ses.LastAccess, "expiry": &ses.Expiry} {
		n, ok := asInt(value(m, key))
		if !ok {
			return Session{}, fault.New(fault.Invalid, "%s holds no number %s", metaFile, key)
		}
		*dst = int64(n)
	}
	return ses, nil
}

// sweep removes expired sessions and folders that are none.
func (s *Sessions) sweep() {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		s.log.Warn("sessions cannot be listed", "err", err)
		return
	}
	for _, e := range entries {
		s.sweepOne(e)
	}
}

func (s *Sessions) sweepOne(e fs.DirEntry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.load(e.Name()); fault.KindOf(err) != fault.NotFound {
		return
	}
	// One that is being made has no meta.info yet; one that a kill left has
	// none for ever. Only the age tells them apart.
	if i, err := e.Info(); err == nil && s.now().Sub(i.ModTime()) > time.Hour && sessionID.MatchString(e.Name()) {
		_ = os.RemoveAll(filepath.Join(s.dir, e.Name()))
	}
}
