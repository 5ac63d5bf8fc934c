// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"
)

const (
	// writers is how many files are written at once. Making a file is a few
	// system calls that wait for the filesystem, so more than there are processors.
	writers = 4
	// inFlight bounds the memory of files that wait to be written. A larger file
	// is written by the reader itself.
	inFlight = 64 << 20
)

// treeWriter writes files below dir, which must be empty when it starts: it makes
// all that is there, and knows therefore that no part of a path is a link.
type treeWriter struct {
	source string
	dir    string
	// entries holds the names that were written: true for a folder.
	entries map[string]bool

	ctx     context.Context
	group   *errgroup.Group
	queue   chan pendingFile
	memory  *semaphore.Weighted
	closing sync.Once
}

// pendingFile is a file that has been read and not yet written.
type pendingFile struct {
	name string
	mode fs.FileMode
	data []byte
}

func newTreeWriter(ctx context.Context, source, dir string) *treeWriter {
	t := &treeWriter{
		source: source, dir: dir, entries: map[string]bool{".": true},
		queue: make(chan pendingFile, 64), memory: semaphore.NewWeighted(inFlight),
	}
	t.group, t.ctx = errgroup.WithContext(ctx)
	for range writers {
		t.group.Go(func() error {
			for f := range t.queue {
				err := t.write(f)
				t.memory.Release(int64(len(f.data)))
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	return t
}

// finish waits until all is written and gives the folders their time.
func (t *treeWriter) finish() error {
	t.closing.Do(func() { close(t.queue) })
	if err := t.group.Wait(); err != nil {
		return err
	}
	for name, isDir := range t.entries {
		if !isDir {
			continue
		}
		if err := os.Chtimes(t.path(name), sourceTime, sourceTime); err != nil {
			return err
		}
	}
	return nil
}

func (t *treeWriter) path(name string) string { return filepath.Join(t.dir, filepath.FromSlash(name)) }

// claim takes a name for a file or link, and makes its folder.
func (t *treeWriter) claim(name string) error {
	if _, taken := t.entries[name]; taken {
		return unsafe("there are two entries of this name")
	}
	t.entries[name] = false
	return t.mkdir(path.Dir(name))
}

func (t *treeWriter) mkdir(name string) error {
	switch isDir, made := t.entries[name]; {
	case isDir:
		return nil
	case made:
		return unsafe("its folder is another entry that is not a folder")
	}
	if err := t.mkdir(path.Dir(name)); err != nil {
		return err
	}
	t.entries[name] = true
	return os.Mkdir(t.path(name), 0o755)
}

// file reads size bytes of r and has them written as a file.
func (t *treeWriter) file(name string, mode fs.FileMode, size int64, r io.Reader) error {
	if err := t.claim(name); err != nil {
		return err
	}
	perm := fs.FileMode(0o644)
	if mode&0o111 != 0 {
		perm = 0o755
	}
	if size > inFlight {
		return t.writeLarge(name, perm, size, r)
	}
	if err := t.memory.Acquire(t.ctx, size); err != nil {
		return t.stopped(err)
	}
	f := pendingFile{name, perm, make([]byte, size)}
	if _, err := io.ReadFull(r, f.data); err != nil {
		t.memory.Release(size)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	select {
	case t.queue <- f:
		return nil
	case <-t.ctx.Done():
		return t.stopped(t.ctx.Err())
	}
}

// stopped is the error of a writer that failed, if that is why the reader cannot
// go on.
func (t *treeWriter) stopped(err error) error {
	t.closing.Do(func() { close(t.queue) })
	if werr := t.group.Wait(); werr != nil {
		return werr
	}
	return err
}

func (t *treeWriter) write(f pendingFile) error {
	out, err := t.create(f.name, f.mode)
	if err != nil {
		return err
	}
	_, err = out.Write(f.data)
	return closeDated(out, err)
}

func (t *treeWriter) writeLarge(name string, perm fs.FileMode, size int64, r io.Reader) error {
	out, err := t.create(name, perm)
	if err != nil {
		return err
	}
	_, err = io.CopyN(out, r, size)
	return closeDated(out, err)
}

func (t *treeWriter) create(name string, perm fs.FileMode) (*os.File, error) {
	f, err := os.OpenFile(t.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, perm)
	if err == nil && perm&0o100 != 0 {
		err = f.Chmod(perm) // whatever the umask
	}
	return f, err
}

// closeDated closes a file that was written and gives it sourceTime.
func closeDated(f *os.File, err error) error {
	if err == nil {
		tv := unix.NsecToTimeval(sourceTime.UnixNano())
		if err = unix.Futimes(int(f.Fd()), []unix.Timeval{tv, tv}); err != nil {
			err = &fs.PathError{Op: "futimes", Path: f.Name(), Err: err}
		}
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// symlink makes a link. One that leads out of the tree would make a build read
// whatever the host has there.
func (t *treeWriter) symlink(name, target string) error {
	if target == "" || strings.ContainsRune(target, 0) {
		return unsafe("it is a link to a name that cannot be")
	}
	if !staysInside(name, target) {
		return unsafe("it is a link to " + target + ", which is not in the tree")
	}
	if err := t.claim(name); err != nil {
		return err
	}
	if err := os.Symlink(target, t.path(name)); err != nil {
		return err
	}
	tv := unix.NsecToTimeval(sourceTime.UnixNano())
	if err := unix.Lutimes(t.path(name), []unix.Timeval{tv, tv}); err != nil {
		return &fs.PathError{Op: "lutimes", Path: t.path(name), Err: err}
	}
	return nil
}

// staysInside says whether a link leads to a place in the tree whatever other
// links there are. Steps up are allowed at the target's start only, where they
// start from the link's own folder, which is no link: behind the name of a folder
// that is in truth a link to one higher up, they would lead out.
func staysInside(name, target string) bool {
	if path.IsAbs(target) {
		return false
	}
	depth, down := strings.Count(name, "/"), false
	for step := range strings.SplitSeq(target, "/") {
		switch step {
		case "", ".":
		case "..":
			depth--
			if down || depth < 0 {
				return false
			}
		default:
			down = true
		}
	}
	return true
}
