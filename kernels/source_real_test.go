// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// legacyTar is the real source of 2.6.32.71.
func legacyTar(t testing.TB) string {
	t.Helper()
	file := os.Getenv("RUNV_TEST_LINUX_2_6_32")
	if file == "" {
		t.Skip("RUNV_TEST_LINUX_2_6_32 does not name the source of Linux 2.6.32.71")
	}
	return file
}

// debianTar is Debian's linux-source-6.1.
func debianTar(t testing.TB) string {
	t.Helper()
	const file = "/usr/src/linux-source-6.1.tar.xz"
	if _, err := os.Stat(file); err != nil {
		t.Skip("Debian's package linux-source-6.1 is not installed")
	}
	return file
}

// unpackReal fetches and unpacks a real source, fetches it a second time, and
// says how long each took.
func unpackReal(t *testing.T, spec SourceSpec, local string) (Source, string) {
	ctx := context.Background()
	c, err := OpenCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	s, err := c.FetchSource(ctx, spec, local, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("fetch, cold: %v", time.Since(start))
	start = time.Now()
	digested := false
	watch := func(e Event) { digested = digested || e.Stage == StageVerify }
	if _, err := c.FetchSource(ctx, spec, local, watch); err != nil {
		t.Fatal(err)
	}
	t.Logf("fetch, warm: %v", time.Since(start))
	if digested {
		t.Error("the second fetch digested the source again")
	}
	dir := filepath.Join(t.TempDir(), "linux")
	start = time.Now()
	if err := c.Unpack(ctx, s, dir, nil); err != nil {
		t.Fatal(err)
	}
	t.Logf("unpack: %v", time.Since(start))
	return s, dir
}

// checkUnpacked looks at a tree as a build would.
func checkUnpacked(t *testing.T, dir string) {
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if !info.ModTime().Equal(sourceTime) {
			t.Errorf("%s is of %v", path, info.ModTime())
		}
		files++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d files and folders", files)
	for _, name := range []string{"Makefile", "arch/x86/Kconfig", "arch/arm/Makefile", "Documentation/Makefile", "scripts/kconfig/Makefile"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"arch/arm/kernel/setup.c", "Documentation/Changes"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s was unpacked, which no x86 build reads", name)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "scripts/checkpatch.pl"))
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("scripts/checkpatch.pl is to be executable: %v, %v", info, err)
	}
}

func TestRealLegacyTarball(t *testing.T) {
	s, dir := unpackReal(t, SourceSpec{Name: "2.6.32", Version: "2.6.32.71"}, legacyTar(t))
	if s.Verification != UnverifiedLocalSrc || s.Version != "2.6.32.71" {
		t.Errorf("source is %+v", s)
	}
	checkUnpacked(t, dir)
	if v, err := Version(dir); err != nil || v != "2.6.32.71" {
		t.Errorf("Version is %q, %v", v, err)
	}
	// The tree is a folder of source like any other.
	s, _ = unpackReal(t, SourceSpec{Name: "2.6.32", Version: "2.6.32.71"}, dir)
	if s.Kind != KindDir {
		t.Errorf("source is %+v", s)
	}
}

func TestRealDebianTarball(t *testing.T) {
	debianTar(t)
	spec := SourceSpec{Name: "debian-6.1", Version: "6.1", Candidates: []Candidate{{Type: CandidateDebian, Package: "linux-source-6.1"}}}
	s, dir := unpackReal(t, spec, "")
	if s.Verification != VerifiedDebian || series(s.Version) != "6.1" {
		t.Errorf("source is %+v", s)
	}
	checkUnpacked(t, dir)
}
