// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// linuxMakefile is a Makefile that says it is this version.
func linuxMakefile(version, patch, sub, extra string) string {
	return fmt.Sprintf("VERSION = %s\nPATCHLEVEL = %s\nSUBLEVEL = %s\nEXTRAVERSION = %s\n", version, patch, sub, extra)
}

// tarEntry is an entry of a tarball for tests.
type tarEntry struct {
	name, body, link string
	typ              byte
	mode             int64
}

// smallKernel is a tarball's worth of kernel, 2.6.32.71.
var smallKernel = []tarEntry{
	{name: "linux-2.6.32.71/", typ: tar.TypeDir},
	{name: "linux-2.6.32.71/Documentation/", typ: tar.TypeDir},
	{name: "linux-2.6.32.71/Documentation/Changes", body: "text"},
	{name: "linux-2.6.32.71/Documentation/Makefile", body: "obj-m :="},
	{name: "linux-2.6.32.71/Documentation/spi/spidev_test.c", body: "int main;"},
	{name: "linux-2.6.32.71/Makefile", body: linuxMakefile("2", "6", "32", ".71")},
	{name: "linux-2.6.32.71/arch/Kconfig", body: "config KPROBES"},
	{name: "linux-2.6.32.71/arch/arm/Kconfig", body: "config ARM"},
	{name: "linux-2.6.32.71/arch/arm/kernel/setup.c", body: "arm"},
	{name: "linux-2.6.32.71/arch/x86/kernel/setup.c", body: "x86"},
	{name: "linux-2.6.32.71/scripts/mkversion", body: "#!/bin/sh", mode: 0o775},
	{name: "linux-2.6.32.71/tools/link.c", link: "../arch/x86/kernel/setup.c", typ: tar.TypeSymlink},
}

// makeTar makes a tar of entries.
func makeTar(t testing.TB, entries []tarEntry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.typ, Linkname: e.link, Mode: e.mode, Size: int64(len(e.body)), ModTime: time.Unix(1700000000, 0)}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// compressed compresses data as a name's last extension says.
func compressed(t testing.TB, name string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w interface {
		Write([]byte) (int, error)
		Close() error
	}
	var err error
	switch filepath.Ext(name) {
	case ".xz":
		w, err = xz.NewWriter(&b)
	case ".gz":
		w = gzip.NewWriter(&b)
	case ".zst":
		w, err = zstd.NewWriter(&b)
	default:
		return data
	}
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// put writes a file.
func put(t testing.TB, path string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// emptyCache is a cache on a machine without Debian packages.
func emptyCache(t testing.TB) *Cache {
	t.Helper()
	c, err := OpenCache(filepath.Join(t.TempDir(), "cache"))
	if err != nil {
		t.Fatal(err)
	}
	c.root = t.TempDir()
	return c
}

// pinned is a spec of 2.6.32.71 with the digest of a file.
func pinned(file []byte, urls ...string) SourceSpec {
	return SourceSpec{Name: "2.6.32", Version: "2.6.32.71", Candidates: []Candidate{
		{Type: CandidateUpstream, URLs: urls, SHA256: digestOf(file)},
	}}
}

// wantKind checks that an error is a *SourceError of a kind, and says some things.
func wantKind(t testing.TB, err error, kind SourceErrorKind, parts ...string) {
	t.Helper()
	var se *SourceError
	if !errors.As(err, &se) || se.Kind != kind {
		t.Fatalf("error is %v, want a SourceError of kind %s", err, kind)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error is %q, want one with %q", err, p)
		}
	}
}

func TestLocalTarball(t *testing.T) {
	plain := makeTar(t, smallKernel)
	for _, ext := range []string{".tar", ".tar.xz", ".tar.gz", ".tar.zst"} {
		t.Run(ext, func(t *testing.T) {
			c := emptyCache(t)
			data := compressed(t, ext, plain)
			// The kind of a file is in its bytes, whatever it is called.
			file := put(t, filepath.Join(t.TempDir(), "some-file"), data)
			s, err := c.FetchSource(t.Context(), pinned(data, "https://example.invalid/a"+ext), file, nil)
			if err != nil {
				t.Fatal(err)
			}
			want := Source{Path: file, Kind: KindTarball, Digest: "sha256:" + digestOf(data), Verification: VerifiedSHA256,
				Origin: "https://example.invalid/a" + ext, Version: "2.6.32.71", stamp: s.stamp}
			if s != want {
				t.Errorf("source is %+v, want %+v", s, want)
			}
		})
	}
}

func TestLocalSourceThatIsNotPinned(t *testing.T) {
	plain := makeTar(t, smallKernel)
	spec := pinned([]byte("another file"))
	c := emptyCache(t)
	s, err := c.FetchSource(t.Context(), spec, put(t, filepath.Join(t.TempDir(), "l.tar"), plain), nil)
	if err != nil || s.Verification != UnverifiedLocalSrc || s.Origin != "local" || s.Digest != "sha256:"+digestOf(plain) {
		t.Errorf("an uncompressed tarball gave %+v, %v", s, err)
	}
	gz := compressed(t, ".gz", plain)
	_, err = c.FetchSource(t.Context(), spec, put(t, filepath.Join(t.TempDir(), "l.tar.gz"), gz), nil)
	wantKind(t, err, SourceMismatch, digestOf(gz), digestOf([]byte("another file")), "decompress it")
}

func TestLocalSourceErrors(t *testing.T) {
	plain := makeTar(t, smallKernel)
	other := append([]tarEntry{}, smallKernel...)
	other[5].body = linuxMakefile("2", "6", "32", ".69")
	outside := makeTar(t, []tarEntry{smallKernel[5], {name: "linux-2.6.32.71/../../evil", body: "x"}})
	tests := map[string]struct {
		data  []byte
		kind  SourceErrorKind
		parts []string
	}{
		"not there":                     {nil, SourceNotFound, []string{"no such file"}},
		"empty":                         {[]byte{}, SourceUnsupported, []string{"not a tarball"}},
		"a text":                        {bytes.Repeat([]byte("hello "), 1000), SourceUnsupported, []string{"not a tarball", ".tar.xz"}},
		"cut inside a file":             {plain[:len(plain)-2000], SourceTruncated, []string{"get it again"}},
		"cut between two entries":       {plain[:7*1024], SourceTruncated, nil},
		"without its end":               {plain[:len(plain)-1024], SourceTruncated, nil},
		"a cut xz":                      {compressed(t, ".xz", plain)[:500], SourceTruncated, []string{"truncated"}},
		"a cut gzip":                    {compressed(t, ".gz", plain)[:500], SourceTruncated, nil},
		"a broken header":               {append(append([]byte{}, plain[:3072]...), append(bytes.Repeat([]byte{1}, 512), plain[3584:]...)...), SourceCorrupt, nil},
		"not a kernel":                  {makeTar(t, []tarEntry{{name: "x/Makefile", body: "all:"}, {name: "x/y"}}), SourceNotKernel, []string{"VERSION"}},
		"no Makefile":                   {makeTar(t, []tarEntry{{name: "x/y"}}), SourceNotKernel, []string{"no Makefile"}},
		"another version":               {makeTar(t, other), SourceVersion, []string{"2.6.32.69", "2.6.32.71"}},
		"a path that leaves the folder": {outside, SourceUnsafe, []string{"evil"}},
		"two top folders":               {makeTar(t, append([]tarEntry{{name: "a/b"}}, smallKernel...)), SourceUnsafe, []string{"linux-2.6.32.71"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "file")
			if tc.data != nil {
				put(t, file, tc.data)
			}
			_, err := emptyCache(t).FetchSource(t.Context(), pinned(nil), file, nil)
			wantKind(t, err, tc.kind, append(tc.parts, filepath.Base(file))...)
		})
	}
}

// smallTree is smallKernel as a folder.
func smallTree(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, e := range smallKernel {
		_, name, _ := strings.Cut(e.name, "/")
		full := filepath.Join(dir, name)
		switch {
		case e.typ == tar.TypeDir:
		case e.link != "":
			if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.Symlink(e.link, full)); err != nil {
				t.Fatal(err)
			}
		default:
			put(t, full, []byte(e.body))
			if err := os.Chmod(full, fs.FileMode(e.mode)|0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

func TestTreeDigestIsOfWhatABuildSees(t *testing.T) {
	c, spec := emptyCache(t), pinned(nil)
	digest := func(dir string) string {
		t.Helper()
		s, err := c.FetchSource(t.Context(), spec, dir, nil)
		if err != nil || s.Kind != KindDir || s.Verification != UnverifiedLocalSrc {
			t.Fatalf("source is %+v, %v", s, err)
		}
		return s.Digest
	}
	dir := smallTree(t)
	first := digest(dir)
	if again := digest(smallTree(t)); again != first {
		t.Errorf("two like trees have the digests %s and %s", first, again)
	}
	put(t, filepath.Join(dir, ".git/HEAD"), []byte("ref: x"))
	if err := os.Chtimes(filepath.Join(dir, "Makefile"), time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if again := digest(dir); again != first {
		t.Error("version control or times count")
	}
	for what, change := range map[string]func(dir string) error{
		"contents": func(d string) error {
			return os.WriteFile(filepath.Join(d, "arch/x86/kernel/setup.c"), []byte("X86"), 0o644)
		},
		"a file more": func(d string) error { return os.WriteFile(filepath.Join(d, "new"), nil, 0o644) },
		"an exec bit": func(d string) error { return os.Chmod(filepath.Join(d, "scripts/mkversion"), 0o644) },
		"a link": func(d string) error {
			l := filepath.Join(d, "tools/link.c")
			return errors.Join(os.Remove(l), os.Symlink("x", l))
		},
		"a file removed": func(d string) error { return os.Remove(filepath.Join(d, "arch/Kconfig")) },
	} {
		dir := smallTree(t)
		digest(dir)
		if err := change(dir); err != nil {
			t.Fatal(err)
		}
		if digest(dir) == first {
			t.Errorf("%s: does not show in the digest", what)
		}
	}
}

func TestTreeInWhichMakeWasRun(t *testing.T) {
	for _, name := range []string{".config", "include/config/auto.conf", "vmlinux", "kernel/fork.o", "kernel/.fork.o.cmd", "include/generated/utsrelease.h"} {
		dir := smallTree(t)
		put(t, filepath.Join(dir, name), nil)
		_, err := emptyCache(t).FetchSource(t.Context(), pinned(nil), dir, nil)
		wantKind(t, err, SourceBuiltIn, "make mrproper")
	}
}

func TestDigestIsRememberedUntilTheFileChanges(t *testing.T) {
	c := emptyCache(t)
	plain := makeTar(t, smallKernel)
	file := put(t, filepath.Join(t.TempDir(), "l.tar"), plain)
	// A change that is younger than this could be followed by one that does not
	// show, so nothing is remembered of it.
	fetch := func() (digested bool) {
		t.Helper()
		_, err := c.FetchSource(t.Context(), pinned(nil), file, func(e Event) { digested = digested || e.Stage == StageVerify })
		if err != nil {
			t.Fatal(err)
		}
		return digested
	}
	fetch()
	if !fetch() {
		t.Error("the digest of a file that has just changed was remembered")
	}
	c.now = func() time.Time { return time.Now().Add(time.Hour) }
	fetch()
	if fetch() {
		t.Error("the file was digested again")
	}
	when := time.Unix(1e9, 0)
	put(t, file, plain) // the same contents, but who knows
	if err := os.Chtimes(file, when, when); err != nil {
		t.Fatal(err)
	}
	if !fetch() {
		t.Error("the file was changed, its time set back, and it was not digested")
	}
}

func TestVersion(t *testing.T) {
	for want, makefile := range map[string]string{
		"2.6.32.71": linuxMakefile("2", "6", "32", ".71"),
		"3.10.108":  linuxMakefile("3", "10", "108", ""),
		"6.1.0-rc1": "# SPDX-License-Identifier: GPL-2.0\n" + linuxMakefile("6", "1", "0", "-rc1"),
	} {
		got, err := Version(filepath.Dir(put(t, filepath.Join(t.TempDir(), "Makefile"), []byte(makefile))))
		if err != nil || got != want {
			t.Errorf("Version is %q, %v, want %q", got, err, want)
		}
	}
	_, err := Version(t.TempDir())
	wantKind(t, err, SourceNotKernel)
}
