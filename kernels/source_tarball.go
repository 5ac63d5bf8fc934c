// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// checkTarball finds the version of a verified tarball, from its record or its
// Makefile, and compares it with the spec's.
func (c *Cache) checkTarball(ctx context.Context, spec SourceSpec, s Source, r record, debian bool) (Source, error) {
	if r.Version == "" {
		v, err := tarballVersion(ctx, s.Path)
		if err != nil {
			return Source{}, err
		}
		r.Version = v
		info, err := os.Stat(s.Path)
		if err != nil {
			return Source{}, err
		}
		if stampOf(info) != r.Stamp {
			return Source{}, changed(s.Path)
		}
		if err := c.saveSettled(r, info); err != nil {
			return Source{}, err
		}
	}
	s.Version = r.Version
	return s, checkVersion(spec, s.Path, s.Version, debian)
}

// tarballVersion reads the kernel's version out of a tarball. An uncompressed tar
// has no checksum over its contents, so its structure is walked to the end, which
// costs little: the walk seeks over what the entries hold. A compressed one is
// read up to the Makefile.
func tarballVersion(ctx context.Context, file string) (string, error) {
	t, err := openTar(ctx, file)
	if err != nil {
		return "", err
	}
	defer t.Close()
	if t.Compression == "" {
		if err := checkTrailer(file, t.file); err != nil {
			return "", err
		}
	}
	version := ""
	var names stripper
	entries := tar.NewReader(t.Reader)
	for {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		h, err := entries.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", streamError(file, err)
		}
		name, err := names.strip(h)
		if err != nil {
			return "", unsafeEntry(file, h.Name, err)
		}
		if name != "Makefile" || h.Typeflag != tar.TypeReg || version != "" {
			continue
		}
		if version, err = makefileVersion(entries); err != nil {
			return "", notKernel(file, err.Error())
		}
		if t.Compression != "" {
			return version, nil
		}
	}
	if version == "" {
		return "", notKernel(file, "it has no Makefile in its top folder")
	}
	return version, nil
}

// checkTrailer looks for the two zero blocks that end a tar (pax(1), "ustar
// Interchange Format"). archive/tar is content without, and so would be with a
// file that was cut between two entries.
func checkTrailer(name string, f *os.File) error {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	tail := make([]byte, 1024)
	if size >= 1024 {
		if _, err := f.ReadAt(tail, size-1024); err != nil {
			return err
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if size < 1024 || !bytes.Equal(tail, make([]byte, 1024)) {
		return truncated(name, errors.New("no end-of-archive blocks"))
	}
	return nil
}

// stripper takes the folder that all of a tarball's entries are in off their
// names.
type stripper struct {
	top     string
	started bool
}

// strip gives an entry's name in the tree, "" for an entry that is none: the top
// folder itself, and a pax header.
func (s *stripper) strip(h *tar.Header) (string, error) {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return "", nil
	}
	name := path.Clean(h.Name)
	if path.IsAbs(name) || name == ".." || strings.HasPrefix(name, "../") || strings.ContainsRune(name, 0) {
		return "", errors.New("its path leaves the folder")
	}
	first, rest, _ := strings.Cut(name, "/")
	if !s.started {
		s.started = true
		s.top = first // "." when the tar was made inside the tree
	}
	if s.top == "." {
		if name == "." {
			return "", nil
		}
		return name, nil
	}
	if first != s.top {
		return "", fmt.Errorf("it is not in the folder %q that the others are in", s.top)
	}
	return rest, nil
}

func unsafeEntry(file, entry string, err error) error {
	return &SourceError{Kind: SourceUnsafe, Path: file, Msg: fmt.Sprintf("entry %q is refused", entry), Err: err, Fix: "no kernel tarball has such an entry; do not trust this one"}
}
