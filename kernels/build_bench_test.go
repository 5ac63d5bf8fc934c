// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkWarm is a build of a kernel that the cache has.
func BenchmarkWarm(b *testing.B) {
	k := newTiny(b, b.TempDir())
	k.mustBuild(k.recipe, BuildOptions{}, nil)
	for b.Loop() {
		if got := k.mustBuild(k.recipe, BuildOptions{}, nil); !got.Cached {
			b.Fatal("the kernel was built again")
		}
	}
}

// BenchmarkColdAgainstMake builds the real 2.6.32.71 with this package and then by
// hand: tar, patches, allnoconfig, make. It reports the seconds of both and their
// ratio. Run it with -benchtime=1x on a machine that does nothing else.
func BenchmarkColdAgainstMake(b *testing.B) {
	c := realCases()["2.6.32.71"]
	tarball := c.tarball(b)
	requireTools(b)
	var ours, byHand time.Duration
	for b.Loop() {
		cache, err := OpenCache(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		// Both read a file that is in memory.
		if err := readAll(tarball); err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		r := c.recipe(b, cache, oneConfig)
		built, err := cache.Build(b.Context(), r, BuildOptions{}, nil)
		if err != nil {
			b.Fatal(err)
		}
		ours += time.Since(start)
		config, err := os.ReadFile(built.Config)
		if err != nil {
			b.Fatal(err)
		}
		start = time.Now()
		if out, err := makeByHand(b, r, tarball, config); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		byHand += time.Since(start)
	}
	b.ReportMetric(ours.Seconds()/float64(b.N), "s-kbuild")
	b.ReportMetric(byHand.Seconds()/float64(b.N), "s-make")
	b.ReportMetric(ours.Seconds()/byHand.Seconds(), "kbuild/make")
}

func readAll(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(io.Discard, f)
	return err
}

// makeByHand is what somebody with a shell and a ready .config would type.
func makeByHand(b *testing.B, r Recipe, tarball string, config []byte) ([]byte, error) {
	b.Helper()
	dir := b.TempDir()
	patches := filepath.Join(dir, "patches")
	if err := os.Mkdir(patches, 0o755); err != nil {
		return nil, err
	}
	for i, p := range r.Patches {
		name := filepath.Join(patches, strconv.Itoa(1000+i)+".patch")
		if err := os.WriteFile(name, p.Data, 0o644); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "config"), config, 0o644); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(b.Context(), "sh", "-ec", `
		cd "$1"; mkdir linux; tar -C linux --strip-components=1 -xf "$2"; cd linux
		for p in ../patches/*.patch; do patch -s -p1 < "$p"; done
		cp ../config .config
		exec make ARCH=x86_64 CC="gcc $3" HOSTCC=gcc -j"$(nproc)" vmlinux bzImage`,
		"sh", dir, tarball, strings.Join(r.Toolchain.CFlags, " "))
	cmd.Env = append(os.Environ(), "LC_ALL=C", "KCONFIG_NOTIMESTAMP=1")
	return cmd.CombinedOutput()
}
