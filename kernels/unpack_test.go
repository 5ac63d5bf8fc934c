// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// unpackSmall fetches and unpacks a tarball or folder and lists what is there.
func unpackSmall(t *testing.T, local string, keep ...string) (dir string, names []string) {
	t.Helper()
	c := emptyCache(t)
	s, err := c.FetchSource(t.Context(), pinned(nil), local, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "tree")
	if err := c.Unpack(t.Context(), s, dir, nil, keep...); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && !info.ModTime().Equal(sourceTime) {
			t.Errorf("%s is of %v", path, info.ModTime())
		}
		if rel, _ := filepath.Rel(dir, path); !d.IsDir() {
			names = append(names, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir, names
}

func TestUnpack(t *testing.T) {
	want := []string{
		"Documentation/Makefile", "Documentation/spi/spidev_test.c", "Makefile", "arch/Kconfig",
		"arch/arm/Kconfig", "arch/x86/kernel/setup.c", "scripts/mkversion", "tools/link.c",
	}
	for name, local := range map[string]string{
		"a tarball":                      put(t, filepath.Join(t.TempDir(), "l.tar"), makeTar(t, smallKernel)),
		"a folder":                       smallTree(t),
		"a tarball made inside the tree": put(t, filepath.Join(t.TempDir(), "l.tar"), makeTar(t, dotted(smallKernel))),
	} {
		t.Run(name, func(t *testing.T) {
			dir, names := unpackSmall(t, local)
			if !slices.Equal(names, want) {
				t.Errorf("unpacked %q, want %q", names, want)
			}
			for file, mode := range map[string]fs.FileMode{"scripts/mkversion": 0o755, "Makefile": 0o644} {
				if info, err := os.Stat(filepath.Join(dir, file)); err != nil || info.Mode() != mode {
					t.Errorf("%s is %v, %v, want mode %v", file, info, err, mode)
				}
			}
			if b, err := os.ReadFile(filepath.Join(dir, "tools/link.c")); err != nil || string(b) != "x86" {
				t.Errorf("the link gives %q, %v", b, err)
			}
		})
	}
	t.Run("what patches touch is kept", func(t *testing.T) {
		_, names := unpackSmall(t, smallTree(t), "Documentation/Changes", "arch/arm/kernel/setup.c")
		if len(names) != len(want)+2 {
			t.Errorf("unpacked %q", names)
		}
	})
}

// dotted are entries as `tar c .` names them.
func dotted(entries []tarEntry) []tarEntry {
	out := slices.Clone(entries)
	for i := range out {
		out[i].name = "./" + out[i].name[len("linux-2.6.32.71/"):]
	}
	return out
}

func TestUnpackRefuses(t *testing.T) {
	const top = "linux-2.6.32.71/"
	tests := map[string][]tarEntry{
		"a link out of the tree":           {{name: top + "l", link: "../../etc", typ: tar.TypeSymlink}},
		"an absolute link":                 {{name: top + "l", link: "/etc/passwd", typ: tar.TypeSymlink}},
		"a link that climbs out of a link": {{name: top + "a/b/up", link: "../..", typ: tar.TypeSymlink}, {name: top + "out", link: "a/b/up/../x", typ: tar.TypeSymlink}},
		"a file through a link":            {{name: top + "d/x"}, {name: top + "l", link: "d", typ: tar.TypeSymlink}, {name: top + "l/x", body: "x"}},
		"a file in a file":                 {{name: top + "f"}, {name: top + "f/x", body: "x"}},
		"a file twice":                     {{name: top + "f"}, {name: top + "f"}},
		"a file where a folder is":         {{name: top + "d/x"}, {name: top + "d"}},
		"a hard link":                      {{name: top + "h", link: top + "Makefile", typ: tar.TypeLink}},
		"a device":                         {{name: top + "dev", typ: tar.TypeChar}},
		"a fifo":                           {{name: top + "fifo", typ: tar.TypeFifo}},
	}
	for name, entries := range tests {
		t.Run(name, func(t *testing.T) {
			c := emptyCache(t)
			file := put(t, filepath.Join(t.TempDir(), "l.tar"), makeTar(t, append(slices.Clone(smallKernel), entries...)))
			s, err := c.FetchSource(t.Context(), pinned(nil), file, nil)
			if err != nil {
				t.Fatal(err)
			}
			err = c.Unpack(t.Context(), s, filepath.Join(t.TempDir(), "a/b/c"), nil)
			wantKind(t, err, SourceUnsafe, "is refused")
		})
	}
}

func TestUnpackSeesThatTheSourceChanged(t *testing.T) {
	c := emptyCache(t)
	plain := makeTar(t, smallKernel)
	file := put(t, filepath.Join(t.TempDir(), "l.tar"), plain)
	dir := smallTree(t)
	for _, local := range []string{file, dir} {
		s, err := c.FetchSource(t.Context(), pinned(nil), local, nil)
		if err != nil {
			t.Fatal(err)
		}
		put(t, file, bytes.Replace(plain, []byte("int main;"), []byte("int Main;"), 1))
		put(t, filepath.Join(dir, "arch/x86/kernel/setup.c"), []byte("y86"))
		wantKind(t, c.Unpack(t.Context(), s, filepath.Join(t.TempDir(), "x"), nil), SourceChanged)
		put(t, file, plain)
	}
}

func TestUnpackIntoAFullFolder(t *testing.T) {
	c := emptyCache(t)
	s, err := c.FetchSource(t.Context(), pinned(nil), smallTree(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(put(t, filepath.Join(t.TempDir(), "x"), nil))
	if err := c.Unpack(t.Context(), s, dir, nil); err == nil {
		t.Error("it was unpacked over what was there")
	}
}

func TestUnpackIsCancelled(t *testing.T) {
	c := emptyCache(t)
	s, err := c.FetchSource(t.Context(), pinned(nil), smallTree(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Unpack(ctx, s, filepath.Join(t.TempDir(), "x"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

func TestSkipsByKernel(t *testing.T) {
	for _, tc := range []struct {
		version, name string
		skip          bool
	}{
		{"2.6.32.71", "Documentation/DocBook/x.tmpl", true},
		{"6.1.192", "Documentation/Kconfig", false},
		{"6.1.192", "arch/arm/crypto/Kconfig", false},
		{"6.1.192", "arch/um/scripts/Makefile.rules", false},
		{"6.1.192", "arch/um/include/asm/a.h", true},
		{"2.6.18", "arch/um/include/a.h", false},
		{"2.6.18", "arch/arm/kernel/a.c", true},
		{"6.1.192", "arch/x86/um/a.c", false},
		{"6.1.192", "arch/Kconfig", false},
		{"6.1.192", "tools/arch/arm/include/a.h", false},
		{"6.1.192", "drivers/Documentation/x.txt", false},
	} {
		if got := newSkipper(tc.version, nil).skip(tc.name); got != tc.skip {
			t.Errorf("%s of %s: skipped is %v", tc.name, tc.version, got)
		}
	}
}

func TestCompareVersions(t *testing.T) {
	ordered := []string{"2.6.9", "2.6.32", "2.6.32.71", "3.10", "5.4", "5.10", "6.1"}
	for i, a := range ordered {
		for j, b := range ordered {
			if got := compareVersions(a, b); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("%s and %s compare as %d", a, b, got)
			}
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(makeTar(f, smallKernel))
	f.Add(makeTar(f, append(slices.Clone(smallKernel), tarEntry{name: "linux-2.6.32.71/l", link: "..", typ: tar.TypeSymlink})))
	f.Add(compressed(f, ".gz", makeTar(f, smallKernel)))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := emptyCache(t)
		around := t.TempDir()
		s := Source{Path: put(t, filepath.Join(t.TempDir(), "l.tar"), data), Kind: KindTarball, Digest: "sha256:" + digestOf(data)}
		_, verr := tarballVersion(t.Context(), s.Path)
		err := c.Unpack(t.Context(), s, filepath.Join(around, "tree"), nil)
		if verr == nil && err == nil {
			if _, err := Version(filepath.Join(around, "tree")); err != nil {
				t.Errorf("the tarball has a version, the tree has not: %v", err)
			}
		}
		if left, err := os.ReadDir(around); err != nil || len(left) != 1 {
			t.Fatalf("beside the tree there is %v, %v", left, err)
		}
	})
}
