// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// debianTarball is a tarball of an installed linux-source package, as dpkg has
// it on record.
type debianTarball struct {
	Package string // "linux-source-6.1"
	Version string // "6.1.1-1"
	Path    string // absolute, below the root dpkg's records are of
	MD5     string
}

// debianSource finds the tarball of an installed package and compares it with
// what dpkg recorded when it unpacked it (deb-md5sums(5)).
func (c *Cache) debianSource(ctx context.Context, spec SourceSpec, cand Candidate, p Progress) (Source, error) {
	tarballs, err := c.debianTarballs(cand.Package)
	if err != nil {
		return Source{}, err
	}
	install := "run `apt-get install " + cand.Package + "`"
	var t debianTarball
	for _, have := range tarballs {
		if cand.Path == "" || filepath.Join(c.root, cand.Path) == have.Path {
			t = have
		}
	}
	if t.Path == "" {
		return Source{}, &SourceError{Kind: SourceNotFound, Path: cand.Path, Msg: "the package " + cand.Package + " is not installed", Fix: install}
	}
	r, err := c.digestFile(ctx, t.Path, p)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			install = "run `apt-get install --reinstall " + cand.Package + "`"
			return Source{}, &SourceError{Kind: SourceNotFound, Path: t.Path, Msg: "the package " + cand.Package + " is installed, but its file is gone", Fix: install}
		}
		return Source{}, err
	}
	if r.MD5 != t.MD5 {
		return Source{}, &SourceError{
			Kind: SourceMismatch, Path: t.Path, Got: "md5:" + r.MD5, Want: "md5:" + t.MD5,
			Msg: fmt.Sprintf("has MD5 %s, but dpkg recorded %s for %s %s", r.MD5, t.MD5, t.Package, t.Version),
			Fix: "run `apt-get install --reinstall " + cand.Package + "`",
		}
	}
	s := Source{
		Path: t.Path, Kind: KindTarball, Digest: "sha256:" + r.SHA256, Verification: VerifiedDebian,
		Origin: "debian", Package: t.Package + "=" + t.Version, stamp: r.Stamp,
	}
	return c.checkTarball(ctx, spec, s, r, true)
}

// debianTarballs lists the tarballs below usr/src of installed packages whose
// name matches pattern, a file name pattern. It is empty where there is no dpkg.
func (c *Cache) debianTarballs(pattern string) ([]debianTarball, error) {
	info := filepath.Join(c.root, "var/lib/dpkg/info")
	// A package that is the same on each architecture has it in the name.
	var lists []string
	for _, suffix := range []string{".md5sums", ":*.md5sums"} {
		l, err := filepath.Glob(filepath.Join(info, pattern+suffix))
		if err != nil {
			return nil, fmt.Errorf("look for Debian package %q: %w", pattern, err)
		}
		lists = append(lists, l...)
	}
	var found []debianTarball
	for _, list := range lists {
		name := strings.TrimSuffix(filepath.Base(list), ".md5sums")
		name, _, _ = strings.Cut(name, ":")
		version, err := c.debianVersion(name)
		if err != nil {
			return nil, err
		}
		if version == "" {
			continue // removed; its records may stay behind
		}
		tarballs, err := readMD5Sums(list)
		if err != nil {
			return nil, fmt.Errorf("read what dpkg recorded of %s: %w", name, err)
		}
		for path, sum := range tarballs {
			found = append(found, debianTarball{name, version, filepath.Join(c.root, path), sum})
		}
	}
	return found, nil
}

// readMD5Sums reads the tarballs of usr/src out of a deb-md5sums(5) file: an MD5,
// two blanks and a path without its leading slash.
func readMD5Sums(list string) (map[string]string, error) {
	f, err := os.Open(list)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sums := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		sum, path, ok := strings.Cut(lines.Text(), "  ")
		if ok && len(sum) == 32 && filepath.IsLocal(path) && strings.HasPrefix(path, "usr/src/") && strings.Contains(path, ".tar") {
			sums[path] = sum
		}
	}
	return sums, lines.Err()
}

// debianVersion is the version of an installed package, empty if it is not
// installed (dpkg's status file, a paragraph a package).
func (c *Cache) debianVersion(name string) (string, error) {
	f, err := os.Open(filepath.Join(c.root, "var/lib/dpkg/status"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look for Debian package %s: %w", name, err)
	}
	defer f.Close()
	in, installed, version := false, false, ""
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadString('\n')
		switch field, value, _ := strings.Cut(strings.TrimRight(line, "\n"), ":"); {
		case field == "Package":
			in, installed, version = strings.TrimSpace(value) == name, false, ""
		case in && field == "Status":
			installed = strings.HasSuffix(value, " installed")
		case in && field == "Version":
			version = strings.TrimSpace(value)
		}
		if in && installed && version != "" {
			return version, nil
		}
		if err == io.EOF {
			return "", nil
		}
		if err != nil {
			return "", fmt.Errorf("look for Debian package %s: %w", name, err)
		}
	}
}
