// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// importPrefix begins the names of the copies that ImportSource makes.
const importPrefix = "import-"

// kept is the record of an imported source. File is relative to the sources
// folder.
type kept struct {
	File         string `json:"file"`
	Digest       string `json:"digest"`
	Verification string `json:"verification"`
	Origin       string `json:"origin"`
	Package      string `json:"package,omitempty"`
	Version      string `json:"version"`
}

// keepSource puts a copy of s into the cache, unless it is there, and records it
// as the source of spec.
func (c *Cache) keepSource(ctx context.Context, spec SourceSpec, s Source, p Progress) (Source, error) {
	// Another spec may import the same, or prune the copy it no longer needs.
	unlock, err := c.Lock(ctx, "imports", StageStore, p)
	if err != nil {
		return Source{}, err
	}
	defer unlock()
	if !c.owns(s.Path) {
		file := c.path(sourcesDir, importPrefix+strings.TrimPrefix(s.Digest, "sha256:")+tarExt(s))
		if err := c.copyIn(ctx, s, file, p); err != nil {
			return Source{}, fmt.Errorf("copy %s into the cache: %w", s.Path, err)
		}
		s.Path, s.Kind = file, KindTarball
	}
	k := kept{filepath.Base(s.Path), s.Digest, s.Verification, s.Origin, s.Package, s.Version}
	if err := writeJSON(c.keptPath(spec), k); err != nil {
		return Source{}, fmt.Errorf("record the source of %s: %w", spec.Name, err)
	}
	if err := c.prune(); err != nil {
		return Source{}, err
	}
	return c.keptSource(ctx, spec, p)
}

// tarExt is what the name of a source's copy ends in.
func tarExt(s Source) string {
	if s.Kind == KindTarball {
		for _, c := range compressions {
			if strings.HasSuffix(s.Path, c.ext) {
				return ".tar" + c.ext
			}
		}
	}
	return ".tar"
}

// copyIn copies a tarball, or the tarball of a folder, to file, and makes sure
// that it is what was verified.
func (c *Cache) copyIn(ctx context.Context, s Source, file string, p Progress) error {
	dir, done, err := c.TempDir("import")
	if err != nil {
		return err
	}
	defer done()
	tmp := filepath.Join(dir, filepath.Base(file))
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	w := io.MultiWriter(f, h)
	if s.Kind == KindDir {
		var files []treeFile
		if files, _, err = listTree(ctx, s.Path); err == nil {
			err = writeTree(ctx, w, s.Path, files, p)
		}
	} else {
		err = copyFile(ctx, w, s.Path, p)
	}
	if err != nil {
		return err
	}
	if "sha256:"+hex.EncodeToString(h.Sum(nil)) != s.Digest {
		return changed(s.Path)
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(tmp, file); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}

func copyFile(ctx context.Context, w io.Writer, path string, p Progress) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	m := newMeter(p, StageStore, fileSize(path), path)
	if _, err := io.Copy(io.MultiWriter(w, meterWriter{m}), &contextReader{ctx, f}); err != nil {
		return err
	}
	m.finish()
	return nil
}

// keptSource gives what was imported for spec; fs.ErrNotExist if nothing was.
func (c *Cache) keptSource(ctx context.Context, spec SourceSpec, p Progress) (Source, error) {
	b, err := os.ReadFile(c.keptPath(spec))
	if err != nil {
		return Source{}, err
	}
	again := "give it again with `kbuild fetch --profile " + spec.Name + " --source DIR|TARBALL`"
	var k kept
	if err := json.Unmarshal(b, &k); err != nil || !filepath.IsLocal(k.File) {
		return Source{}, &SourceError{Kind: SourceCorrupt, Path: c.keptPath(spec), Msg: "is damaged", Fix: again}
	}
	file := c.path(sourcesDir, k.File)
	r, err := c.digestFile(ctx, file, p)
	if os.IsNotExist(err) {
		return Source{}, &SourceError{Kind: SourceNotFound, Path: file, Msg: "is gone", Fix: again}
	}
	if err != nil {
		return Source{}, err
	}
	if "sha256:"+r.SHA256 != k.Digest {
		return Source{}, mismatch(file, r.SHA256, strings.TrimPrefix(k.Digest, "sha256:"), again)
	}
	return Source{
		Path: file, Kind: KindTarball, Digest: k.Digest, Verification: k.Verification,
		Origin: k.Origin, Package: k.Package, Version: k.Version, stamp: r.Stamp,
	}, nil
}

// pruneSources removes the copies that no spec uses any more.
func (c *Cache) pruneSources(ctx context.Context) error {
	unlock, err := c.Lock(ctx, "imports", StageStore, nil)
	if err != nil {
		return err
	}
	defer unlock()
	return c.prune()
}

// prune is pruneSources for who holds the lock.
func (c *Cache) prune() error {
	records, err := filepath.Glob(c.path(sourcesDir, "kept-*.json"))
	if err != nil {
		return err
	}
	used := map[string]bool{}
	for _, r := range records {
		var k kept
		b, err := os.ReadFile(r)
		if err != nil {
			return err
		}
		if json.Unmarshal(b, &k) == nil {
			used[k.File] = true
		}
	}
	copies, err := filepath.Glob(c.path(sourcesDir, importPrefix+"*"))
	if err != nil {
		return err
	}
	for _, file := range copies {
		if used[filepath.Base(file)] {
			continue
		}
		if err := os.Remove(file); err != nil {
			return fmt.Errorf("remove the unused source %s: %w", file, err)
		}
	}
	return nil
}
