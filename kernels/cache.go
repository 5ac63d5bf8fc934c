// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// The folders of a cache. All are on one filesystem, so that a rename from tmp
// into any of the others is atomic.
const (
	sourcesDir = "sources" // verified and imported source, and its records
	treesDir   = "trees"   // unpacked and patched trees that a build goes on from
	buildsDir  = "builds"  // finished builds by key
	logsDir    = "logs"    // make logs, those of failed builds too
	tmpDir     = "tmp"     // work in progress; what a dead process left is swept
	locksDir   = "locks"   // one empty file a lock
)

// lockPoll is how often a lock that somebody else holds is tried again: flock(2)
// has no form that waits and can be cancelled.
const lockPoll = 50 * time.Millisecond

// Cache is the folder in which sources, trees and builds are kept between runs.
// It may be used by any number of goroutines and processes at once.
type Cache struct {
	dir    string
	root   string       // where Debian's dpkg keeps its records: "/", but in tests
	client *http.Client // for downloads
	now    func() time.Time
}

// OpenCache opens the cache in dir and makes it if it is not there. What a
// killed process left half done in it is removed.
func OpenCache(dir string) (*Cache, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open cache %s: %w", dir, err)
	}
	c := &Cache{dir: abs, root: "/", client: newClient(), now: time.Now}
	for _, d := range []string{sourcesDir, treesDir, buildsDir, logsDir, tmpDir, locksDir} {
		if err := os.MkdirAll(filepath.Join(abs, d), 0o755); err != nil {
			return nil, fmt.Errorf("open cache %s: %w; name a folder you may write to", abs, err)
		}
	}
	if err := c.sweep(); err != nil {
		return nil, fmt.Errorf("open cache %s: sweep %s: %w", abs, tmpDir, err)
	}
	return c, nil
}

// Dir is the cache's folder, an absolute path.
func (c *Cache) Dir() string { return c.dir }

// path joins elements below the cache's folder.
func (c *Cache) path(elem ...string) string {
	return filepath.Join(append([]string{c.dir}, elem...)...)
}

// Lock takes the lock called name, alone among all processes that use this
// cache, and returns how to give it back. While another holds it Lock waits
// until ctx is done, and says so once through p as a Waiting event of stage.
// A process that dies gives its locks back.
func (c *Cache) Lock(ctx context.Context, name, stage string, p Progress) (unlock func(), err error) {
	file := c.path(locksDir, lockFile(name))
	l := flock.New(file, flock.SetPermissions(0o644))
	ok, err := l.TryLock()
	if err == nil && !ok {
		p.report(Event{Stage: stage, State: Waiting, Detail: "waiting for another kbuild (" + name + ")"})
		ok, err = l.TryLockContext(ctx, lockPoll)
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	if !ok {
		return nil, fmt.Errorf("lock %s: %w", name, context.Cause(ctx))
	}
	// The file stays: removing it would let two processes hold "the" lock, one
	// by the removed inode and one by the new one.
	return func() { _ = l.Unlock() }, nil
}

// lockFile turns a lock's name into a file name.
func lockFile(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '.', r == '_':
			return r
		}
		return '_'
	}, name) + ".lock"
}

// TempDir makes an empty folder below the cache's tmp folder. What is in it may
// be renamed into the cache; done removes what is left. If the process dies
// first, the next OpenCache removes it.
func (c *Cache) TempDir(prefix string) (dir string, done func(), err error) {
	// The folder's lock is held for as long as it is in use and is how sweep
	// tells a dead owner's folder from a live one's. It must therefore exist
	// before the folder does.
	f, err := os.CreateTemp(c.path(tmpDir), prefix+"-*.lock")
	if err != nil {
		return "", nil, fmt.Errorf("make temporary folder: %w", err)
	}
	f.Close()
	l := flock.New(f.Name())
	if ok, err := l.TryLock(); err != nil || !ok {
		return "", nil, fmt.Errorf("make temporary folder: lock %s: %w", f.Name(), errors.Join(err, os.ErrExist))
	}
	dir = strings.TrimSuffix(f.Name(), ".lock")
	if err := os.Mkdir(dir, 0o755); err != nil {
		os.Remove(f.Name())
		_ = l.Unlock()
		return "", nil, fmt.Errorf("make temporary folder: %w", err)
	}
	return dir, func() {
		_ = os.RemoveAll(dir)
		_ = os.Remove(f.Name())
		_ = l.Unlock()
	}, nil
}

// sweep removes temporary folders whose owner is gone.
func (c *Cache) sweep() error {
	entries, err := os.ReadDir(c.path(tmpDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		lock, isLock := strings.CutSuffix(e.Name(), ".lock")
		if !isLock {
			continue // goes with its lock
		}
		file := c.path(tmpDir, e.Name())
		if info, err := e.Info(); err != nil || time.Since(info.ModTime()) < time.Minute {
			continue // gone already, or its owner is between making and locking it
		}
		l := flock.New(file)
		if ok, err := l.TryLock(); err != nil || !ok {
			continue // in use
		}
		err := errors.Join(os.RemoveAll(c.path(tmpDir, lock)), os.Remove(file))
		_ = l.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}
