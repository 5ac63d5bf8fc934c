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
	"path"
	"path/filepath"
	"strings"
	"time"
)

// sourceTime is the modification time of all files of a source once it is in
// kbuild's hands, so that what make compiles is newer than all of them whenever
// it was unpacked: 3 December 2009, when 2.6.32 was released.
var sourceTime = time.Unix(1259798400, 0)

// treeFile is an entry of a folder of source.
type treeFile struct {
	name string // in the tree, with slashes
	info fs.FileInfo
}

// built are the names that make leaves in a tree and mrproper removes. The first
// two are what the kernel's Makefile itself goes by ("is not clean, please run
// 'make mrproper'"). A suffix begins with an asterisk.
var built = []string{
	".config", "include/config", "include/generated", "include/linux/autoconf.h",
	"arch/x86/include/generated", "vmlinux", "System.map", "Module.symvers", ".tmp_versions",
	"*.o", "*.ko", "*.o.cmd",
}

// listTree lists a folder of source in the order of its tarball, and gives its
// stamp. Version control's own files are left out. A folder in which make was run
// is refused: what is built would depend on what was built there before.
func listTree(ctx context.Context, dir string) ([]treeFile, string, error) {
	var files []treeFile
	h := sha256.New()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		if name == "." {
			return nil
		}
		if name == ".git" || name == ".pc" {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if isBuilt(name) {
			return &SourceError{Kind: SourceBuiltIn, Path: dir, Msg: "make has been run in it: there is " + name, Fix: "run `make mrproper` in it, or give a clean copy"}
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if t := info.Mode().Type(); t&^(fs.ModeDir|fs.ModeSymlink) != 0 {
			return unsafeEntry(dir, name, errors.New("it is neither a file, a folder nor a symbolic link"))
		}
		// What the tree's own folders look like changes with what is in them.
		if !d.IsDir() {
			fmt.Fprintf(h, "%s\x00%o %s\x00", name, info.Mode(), stampOf(info))
		} else {
			fmt.Fprintf(h, "%s/\x00", name)
		}
		files = append(files, treeFile{name, info})
		return nil
	})
	return files, "tree " + hex.EncodeToString(h.Sum(nil)), err
}

// isBuilt says whether a name is one that make leaves behind.
func isBuilt(name string) bool {
	for _, b := range built {
		suffix, ok := strings.CutPrefix(b, "*")
		if name == b || ok && strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// digestTree gives the digest of a folder's tarball, from the records if no file
// of it has changed.
func (c *Cache) digestTree(ctx context.Context, dir string, p Progress) (record, error) {
	files, stamp, err := listTree(ctx, dir)
	if err != nil {
		return record{}, err
	}
	r := c.loadRecord(dir, stamp)
	if r.SHA256 != "" {
		return r, nil
	}
	h := sha256.New()
	if err := writeTree(ctx, h, dir, files, p); err != nil {
		return record{}, err
	}
	r.SHA256 = hex.EncodeToString(h.Sum(nil))
	_, after, err := listTree(ctx, dir)
	if err != nil {
		return record{}, err
	}
	if after != stamp {
		return record{}, changed(dir)
	}
	var newest time.Time
	for _, f := range files {
		if t := changedAt(f.info); t.After(newest) {
			newest = t
		}
	}
	if c.now().Sub(newest) < settled {
		return r, nil
	}
	return r, c.saveRecord(r)
}

// writeTree writes files of dir as a tarball that depends on names, contents,
// executable bits and link targets only: pax format, sorted, in the folder
// "linux", owner 0, mode 0644 or 0755, one time.
func writeTree(ctx context.Context, w io.Writer, dir string, files []treeFile, p Progress) error {
	var size int64
	for _, f := range files {
		size += f.info.Size()
	}
	m := newMeter(p, StageVerify, size, dir)
	tw := tar.NewWriter(w)
	for _, f := range files {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := writeTreeFile(tw, dir, f); err != nil {
			return fmt.Errorf("read %s: %w", filepath.Join(dir, f.name), err)
		}
		m.add(f.info.Size())
	}
	if err := tw.Close(); err != nil {
		return err
	}
	m.finish()
	return nil
}

func writeTreeFile(tw *tar.Writer, dir string, f treeFile) error {
	full := filepath.Join(dir, filepath.FromSlash(f.name))
	h := &tar.Header{Name: path.Join("linux", f.name), Mode: 0o644, ModTime: sourceTime, Format: tar.FormatPAX}
	if f.info.Mode()&0o111 != 0 {
		h.Mode = 0o755
	}
	switch {
	case f.info.IsDir():
		h.Typeflag, h.Mode = tar.TypeDir, 0o755
		h.Name += "/"
	case f.info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(full)
		if err != nil {
			return err
		}
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, target, 0o777
	default:
		h.Typeflag, h.Size = tar.TypeReg, f.info.Size()
	}
	if err := tw.WriteHeader(h); err != nil || h.Typeflag != tar.TypeReg {
		return err
	}
	r, err := os.Open(full)
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := io.Copy(tw, io.LimitReader(r, h.Size))
	if err == nil && n < h.Size {
		err = changed(full)
	}
	return err
}
