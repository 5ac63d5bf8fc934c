package artifact

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Locks of the store. index serialises changes of index.json. use is held
// shared by whoever needs blobs to stay (Add, Pull, Push, Hold) and exclusively
// by GC, so that a blob written for a tag that is not there yet is never swept.
const (
	lockIndex = "index.lock"
	lockUse   = "use.lock"
	lockPoll  = 20 * time.Millisecond
)

// checkLayout tells whether dir is a store: absent and empty folders become one
// when they are first written to.
func checkLayout(dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, ocispec.ImageLayoutFile))
	if errors.Is(err, fs.ErrNotExist) {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return storeError(dir, "open store", err)
		}
		for _, e := range entries {
			// A first writer that was killed, or is at work now, leaves these.
			ours := []string{"blobs", "ingest", "locks", "verified", ocispec.ImageIndexFile, ocispec.ImageLayoutFile}
			if n := e.Name(); !slices.Contains(ours, n) && n[0] != '.' {
				return fmt.Errorf("open store %s: %w: it has %q but no %s; choose an empty folder", dir, ErrNotStore, n, ocispec.ImageLayoutFile)
			}
		}
		return nil
	}
	if err != nil {
		return storeError(dir, "open store "+dir, err)
	}
	var layout ocispec.ImageLayout
	if err := json.Unmarshal(data, &layout); err != nil {
		return fmt.Errorf("open store %s: %w: %s: %w", dir, ErrNotStore, ocispec.ImageLayoutFile, err)
	}
	if layout.Version != ocispec.ImageLayoutVersion {
		return fmt.Errorf("open store %s: %w: imageLayoutVersion is %q, want %q", dir, ErrNotStore, clip(layout.Version), ocispec.ImageLayoutVersion)
	}
	return nil
}

// prepare makes the layout's folders and files where they are missing. It is
// idempotent, and safe when several processes do it at once.
func (s *Store) prepare(ctx context.Context) error {
	doing := "prepare store " + s.dir
	for _, sub := range []string{"blobs/sha256", "ingest", "locks", "verified"} {
		if err := os.MkdirAll(filepath.Join(s.dir, sub), 0o755); err != nil {
			return storeError(s.dir, doing, err)
		}
	}
	path := filepath.Join(s.dir, ocispec.ImageLayoutFile)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	unlock, err := s.lock(ctx, lockIndex, true)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(filepath.Join(s.dir, ocispec.ImageIndexFile)); errors.Is(err, fs.ErrNotExist) {
		if err := s.writeIndex(Index{ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}}); err != nil {
			return err
		}
	}
	data, err := marshalJSON(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return err
	}
	return storeError(s.dir, doing, renameio.WriteFile(path, data, 0o644))
}

// lock takes one of the store's locks and returns what releases it. Waiting
// ends with ctx.
func (s *Store) lock(ctx context.Context, name string, exclusive bool) (func(), error) {
	l := flock.New(filepath.Join(s.dir, "locks", name), flock.SetPermissions(0o644))
	try := l.TryRLockContext
	if exclusive {
		try = l.TryLockContext
	}
	ok, err := try(ctx, lockPoll)
	if err != nil {
		return nil, storeError(s.dir, "lock store", err)
	}
	if !ok {
		return nil, fmt.Errorf("lock store %s: %w", s.dir, context.Cause(ctx))
	}
	return func() { l.Close() }, nil
}

// readIndex reads index.json. Readers take no lock: the file is only ever
// replaced as a whole.
func (s *Store) readIndex() (Index, error) {
	path := filepath.Join(s.dir, ocispec.ImageIndexFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Index{}, nil
	}
	if err != nil {
		return Index{}, storeError(s.dir, "read store", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxLayoutIndex+1))
	if err != nil {
		return Index{}, fmt.Errorf("read %s: %w", path, err)
	}
	x, err := parseIndex(ocispec.ImageIndexFile, data, maxLayoutIndex, maxLayoutIndex/64)
	if err != nil {
		return Index{}, fmt.Errorf("read %s: %w", path, err)
	}
	return x, nil
}

func (s *Store) writeIndex(x Index) error {
	if x.Manifests == nil {
		x.Manifests = []ocispec.Descriptor{} // the field is required (image-index.md)
	}
	data, err := marshalJSON(x.Index)
	if err != nil {
		return fmt.Errorf("encode %s: %w", ocispec.ImageIndexFile, err)
	}
	path := filepath.Join(s.dir, ocispec.ImageIndexFile)
	if err := renameio.WriteFile(path, data, 0o644); err != nil {
		return storeError(s.dir, "write "+path, err)
	}
	return storeError(s.dir, "write "+path, syncDir(s.dir))
}

// updateIndex changes index.json under its lock.
func (s *Store) updateIndex(ctx context.Context, change func(*Index) error) error {
	unlock, err := s.lock(ctx, lockIndex, true)
	if err != nil {
		return err
	}
	defer unlock()
	x, err := s.readIndex()
	if err != nil {
		return err
	}
	if x.SchemaVersion == 0 {
		x.SchemaVersion, x.MediaType = 2, ocispec.MediaTypeImageIndex
	}
	if err := change(&x); err != nil {
		return err
	}
	return s.writeIndex(x)
}
