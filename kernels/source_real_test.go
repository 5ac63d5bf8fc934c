// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
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

// cpuTime is what this process and its finished children have used.
func cpuTime() time.Duration {
	var total time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil {
			total += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	return total
}

// BenchmarkUnpack compares Unpack with tar(1), which is what a user would type.
// Processor seconds are reported too: they do not depend on who else computes.
func BenchmarkUnpack(b *testing.B) {
	for name, file := range map[string]func(testing.TB) string{"2.6.32": legacyTar, "debian-6.1": debianTar} {
		b.Run(name+"/kbuild", func(b *testing.B) {
			c, err := OpenCache(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			s, err := c.FetchSource(b.Context(), SourceSpec{Name: name}, file(b), nil)
			if err != nil {
				b.Fatal(err)
			}
			benchmarkCPU(b, func(dir string) error { return c.Unpack(b.Context(), s, dir, nil) })
		})
		b.Run(name+"/tar", func(b *testing.B) {
			tarball := file(b)
			benchmarkCPU(b, func(dir string) error {
				if err := os.Mkdir(dir, 0o755); err != nil {
					return err
				}
				return exec.CommandContext(b.Context(), "tar", "-x", "-C", dir, "-f", tarball).Run()
			})
		})
	}
}

// BenchmarkFetchFolder is the second look at a folder of source.
func BenchmarkFetchFolder(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "linux")
	if err := os.Mkdir(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	if err := exec.CommandContext(b.Context(), "tar", "-x", "-C", dir, "--strip-components=1", "-f", legacyTar(b)).Run(); err != nil {
		b.Fatal(err)
	}
	c, err := OpenCache(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	c.now = func() time.Time { return time.Now().Add(time.Hour) }
	spec := SourceSpec{Name: "2.6.32", Version: "2.6.32.71"}
	if _, err := c.FetchSource(b.Context(), spec, dir, nil); err != nil {
		b.Fatal(err)
	}
	cpu := cpuTime()
	for b.Loop() {
		if _, err := c.FetchSource(b.Context(), spec, dir, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((cpuTime()-cpu).Seconds()/float64(b.N), "cpu-s/op")
}

func benchmarkCPU(b *testing.B, unpack func(dir string) error) {
	var used time.Duration
	for i := 0; b.Loop(); i++ {
		dir := filepath.Join(b.TempDir(), strconv.Itoa(i))
		before := cpuTime()
		if err := unpack(dir); err != nil {
			b.Fatal(err)
		}
		used += cpuTime() - before
		b.StopTimer()
		if err := os.RemoveAll(dir); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(used.Seconds()/float64(b.N), "cpu-s/op")
}
