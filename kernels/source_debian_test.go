// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"crypto/md5"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
)

// debianKernel is smallKernel as Debian has it: a later version of the series.
func debianKernel(t testing.TB) []byte {
	entries := append([]tarEntry{}, smallKernel...)
	for i, e := range entries {
		if e.body == linuxMakefile("2", "6", "32", ".71") {
			entries[i].body = linuxMakefile("6", "1", "192", "")
		}
	}
	return compressed(t, ".xz", makeTar(t, entries))
}

// installDebian makes a package look installed, with a tarball of data.
func installDebian(t testing.TB, c *Cache, pkg, status string, data []byte) string {
	t.Helper()
	sum := md5.Sum(data)
	put(t, filepath.Join(c.root, "var/lib/dpkg/info", pkg+".md5sums"),
		[]byte("0123456789abcdef0123456789abcdef  usr/share/doc/x\n"+hex.EncodeToString(sum[:])+"  usr/src/"+pkg+".tar.xz\n"))
	put(t, filepath.Join(c.root, "var/lib/dpkg/status"),
		[]byte("Package: "+pkg+"-doc\nStatus: install ok installed\nVersion: 9\n\nPackage: "+pkg+"\nStatus: "+status+"\nArchitecture: all\nVersion: 6.1.192-2\nDescription: x\n Package: no\n"))
	return put(t, filepath.Join(c.root, "usr/src", pkg+".tar.xz"), data)
}

func debianSpec() SourceSpec {
	return SourceSpec{Name: "debian-6.1", Version: "6.1", Candidates: []Candidate{
		{Type: CandidateDebian, Package: "linux-source-6.1", Path: "/usr/src/linux-source-6.1.tar.xz"},
	}}
}

func TestDebianPackage(t *testing.T) {
	c, data := emptyCache(t), debianKernel(t)
	file := installDebian(t, c, "linux-source-6.1", "install ok installed", data)
	s, err := c.FetchSource(t.Context(), debianSpec(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Source{Path: file, Kind: KindTarball, Digest: "sha256:" + digestOf(data), Verification: VerifiedDebian,
		Origin: "debian", Package: "linux-source-6.1=6.1.192-2", Version: "6.1.192", stamp: s.stamp}
	if s != want {
		t.Errorf("source is %+v, want %+v", s, want)
	}
}

func TestDebianPackageErrors(t *testing.T) {
	data := debianKernel(t)
	t.Run("not installed", func(t *testing.T) {
		_, err := emptyCache(t).FetchSource(t.Context(), debianSpec(), "", nil)
		wantKind(t, err, SourceUnavailable, "apt-get install linux-source-6.1")
	})
	t.Run("removed, its configuration is left", func(t *testing.T) {
		c := emptyCache(t)
		installDebian(t, c, "linux-source-6.1", "deinstall ok config-files", data)
		_, err := c.FetchSource(t.Context(), debianSpec(), "", nil)
		wantKind(t, err, SourceUnavailable, "apt-get install linux-source-6.1")
	})
	t.Run("changed since it was installed", func(t *testing.T) {
		c := emptyCache(t)
		put(t, installDebian(t, c, "linux-source-6.1", "install ok installed", data), []byte("changed"))
		_, err := c.FetchSource(t.Context(), debianSpec(), "", nil)
		wantKind(t, err, SourceUnavailable, "dpkg recorded", "--reinstall")
	})
	t.Run("its file was removed", func(t *testing.T) {
		c := emptyCache(t)
		if err := os.Remove(installDebian(t, c, "linux-source-6.1", "install ok installed", data)); err != nil {
			t.Fatal(err)
		}
		_, err := c.FetchSource(t.Context(), debianSpec(), "", nil)
		wantKind(t, err, SourceUnavailable, "--reinstall linux-source-6.1")
	})
}

func TestLocalCopyOfADebianPackage(t *testing.T) {
	c, data := emptyCache(t), debianKernel(t)
	installDebian(t, c, "linux-source-6.1", "install ok installed", data)
	copied := put(t, filepath.Join(t.TempDir(), "my-linux"), data)
	// An upstream profile of the series takes it, of another series not.
	spec := SourceSpec{Name: "6.1", Version: "6.1.147", Candidates: pinned([]byte("upstream's")).Candidates}
	s, err := c.FetchSource(t.Context(), spec, copied, nil)
	if err != nil || s.Verification != VerifiedDebian || s.Path != copied || s.Package != "linux-source-6.1=6.1.192-2" || s.Version != "6.1.192" {
		t.Errorf("source is %+v, %v", s, err)
	}
	spec.Version = "5.10.240"
	_, err = c.FetchSource(t.Context(), spec, copied, nil)
	wantKind(t, err, SourceVersion, "6.1.192", "5.10.240")
}
