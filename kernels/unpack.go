// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Limits of a source tree. 6.1 has 84 000 entries in 1.3 GB.
const (
	maxEntries  = 1_000_000
	maxUnpacked = 16 << 30
)

// Unpack puts the source into dir, which must be empty or not be there, without
// the folder that the tarball has it in. What no x86 build reads is left out (see
// the table in unpack_skip.go), except the files that keep names: those that
// patches touch. All files get one old time, links and modes stay what they are.
//
// The source is digested again on the way: a file that is no longer what
// FetchSource saw is a *SourceError, as is a tarball with an entry that would be
// written elsewhere. After an error dir holds a part of the source.
func (c *Cache) Unpack(ctx context.Context, s Source, dir string, p Progress, keep ...string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("unpack %s: %w", s.Path, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		return fmt.Errorf("unpack %s: %w", s.Path, errors.Join(err, fmt.Errorf("%s is not empty", dir)))
	}
	t := newTreeWriter(ctx, s.Path, dir)
	var err error
	if s.Kind == KindDir {
		err = unpackDir(ctx, s, t, newSkipper(s.Version, keep), p)
	} else {
		err = unpackTarball(ctx, s, t, newSkipper(s.Version, keep), p)
	}
	if err = errors.Join(err, t.finish()); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("unpack %s: %w", s.Path, err)
	}
	return nil
}

// unpackTarball unpacks a tarball and digests it on another processor.
func unpackTarball(ctx context.Context, s Source, t *treeWriter, sk *skipper, p Progress) error {
	in, err := openTar(ctx, s.Path)
	if err != nil {
		return err
	}
	defer in.Close()
	m := newMeter(p, StageUnpack, fileSize(s.Path), s.Path)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		digest string
		err    error
	}
	digested := make(chan result, 1)
	go func() {
		d, err := plainDigest(ctx, s.Path)
		digested <- result{d, err}
	}()
	if err := unpackEntries(ctx, s.Path, in, t, sk, m); err != nil {
		return err
	}
	switch r := <-digested; {
	case r.err != nil:
		return r.err
	case "sha256:"+r.digest != s.Digest:
		return &SourceError{Kind: SourceChanged, Path: s.Path, Got: "sha256:" + r.digest, Want: s.Digest,
			Msg: "has changed since it was verified", Fix: "run this again"}
	}
	m.finish()
	return nil
}

// plainDigest is the SHA-256 of a file.
func plainDigest(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyBuffer(h, &contextReader{ctx, f}, make([]byte, 256<<10)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// unpackEntries writes what a tar holds.
func unpackEntries(ctx context.Context, file string, in *tarStream, t *treeWriter, sk *skipper, m *meter) error {
	entries := tar.NewReader(in.Reader)
	var names stripper
	var total, reported int64
	for n := 0; ; n++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		h, err := entries.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return streamError(file, err)
		}
		name, err := names.strip(h)
		if err != nil {
			return unsafeEntry(file, h.Name, err)
		}
		if total += h.Size; n > maxEntries || total > maxUnpacked {
			return &SourceError{Kind: SourceUnsafe, Path: file, Msg: "is far larger than any kernel when unpacked", Fix: "do not trust it"}
		}
		if pos := in.position(); pos > reported {
			m.add(pos - reported)
			reported = pos
		}
		if name == "" || sk.skip(name) && h.Typeflag != tar.TypeDir {
			continue
		}
		if err := unpackEntry(t, entries, h, name); err != nil {
			return t.entryError(h.Name, err)
		}
	}
}

// unpackEntry writes one entry of a tar.
func unpackEntry(t *treeWriter, r io.Reader, h *tar.Header, name string) error {
	mode := fs.FileMode(h.Mode)
	switch h.Typeflag {
	case tar.TypeReg:
		return t.file(name, mode, h.Size, r)
	case tar.TypeDir:
		return nil // made when there is something to put in it
	case tar.TypeSymlink:
		return t.symlink(name, h.Linkname)
	}
	return unsafe("it is a link, a device or something else that no kernel source has")
}

// unpackDir copies a folder.
func unpackDir(ctx context.Context, s Source, t *treeWriter, sk *skipper, p Progress) error {
	files, stamp, err := listTree(ctx, s.Path)
	if err != nil {
		return err
	}
	if s.stamp != "" && stamp != s.stamp {
		return changed(s.Path)
	}
	var size int64
	for _, f := range files {
		size += f.info.Size()
	}
	m := newMeter(p, StageUnpack, size, s.Path)
	for _, f := range files {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		m.add(f.info.Size())
		if f.info.IsDir() || sk.skip(f.name) {
			continue
		}
		if err := copyEntry(t, s.Path, f); err != nil {
			return t.entryError(f.name, err)
		}
	}
	// Whatever was read while it changed shows in the stamp.
	if _, after, err := listTree(ctx, s.Path); err != nil || after != stamp {
		return errors.Join(err, changed(s.Path))
	}
	m.finish()
	return nil
}

func copyEntry(t *treeWriter, dir string, f treeFile) error {
	full := filepath.Join(dir, filepath.FromSlash(f.name))
	if f.info.Mode()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(full)
		if err != nil {
			return err
		}
		return t.symlink(f.name, target)
	}
	r, err := os.Open(full)
	if err != nil {
		return err
	}
	defer r.Close()
	return t.file(f.name, f.info.Mode(), f.info.Size(), r)
}

// unsafe is the reason for refusing an entry.
type unsafe string

func (u unsafe) Error() string { return string(u) }

// entryError says which entry an error is about, and tells hostile tarballs from
// broken ones and from a full disk.
func (t *treeWriter) entryError(entry string, err error) error {
	var u unsafe
	var pe *fs.PathError
	switch {
	case errors.As(err, &u):
		return unsafeEntry(t.source, entry, err)
	case errors.As(err, &pe) && strings.HasPrefix(pe.Path, t.dir):
		return err
	}
	return streamError(t.source, err)
}
