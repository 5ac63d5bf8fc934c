// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/runv-legacy/runv-legacy/backports"
)

// smallConfig is a kernel that is soon compiled and has what could tell builds
// apart: debug information, BUG() with its file names, its own .config, an initramfs.
const smallConfig = `CONFIG_64BIT=y
CONFIG_PRINTK=y
CONFIG_BUG=y
CONFIG_BINFMT_ELF=y
CONFIG_SERIAL_8250=y
CONFIG_SERIAL_8250_CONSOLE=y
CONFIG_BLK_DEV_INITRD=y
CONFIG_PROC_FS=y
CONFIG_IKCONFIG=y
CONFIG_IKCONFIG_PROC=y
CONFIG_KALLSYMS=y
CONFIG_DEBUG_KERNEL=y
`

// The two configurations differ in symbols that generated headers, the linker
// script, single files and whole folders depend on.
const (
	oneConfig   = "CONFIG_HZ_100=y\nCONFIG_FUTEX=y\n# CONFIG_EPOLL is not set\nCONFIG_BLOCK=y\n"
	otherConfig = "CONFIG_HZ_250=y\n# CONFIG_FUTEX is not set\nCONFIG_EPOLL=y\n# CONFIG_BLOCK is not set\n# CONFIG_KALLSYMS is not set\n"
)

// proofDir is where real builds are kept from one run of the tests to the next. It
// is named by what this package builds with, so that a change of that is proved
// anew; the recipe and the toolchain are in the caches' own keys.
func proofDir(t testing.TB) string {
	t.Helper()
	h := sha256.New()
	for _, pattern := range []string{"build*.go", "config*.go", "objects*", "recipe.go", "unpack*.go", "workspace.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(h, "%s %d\n%s", name, len(data), data)
		}
	}
	user, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("skipped: no folder to keep real builds in: %v", err)
	}
	return filepath.Join(user, "runv-legacy-test", "kernels-"+hex.EncodeToString(h.Sum(nil)[:8]))
}

// realCase is a real kernel and how it is built.
type realCase struct {
	spec      SourceSpec
	tarball   func(testing.TB) string
	config    string // besides smallConfig
	toolchain Toolchain
	series    string
	release   string
}

func realCases() map[string]realCase {
	return map[string]realCase{
		"2.6.32.71": {
			spec: SourceSpec{Name: "2.6.32", Version: "2.6.32.71"}, tarball: legacyTar, series: "2.6.32",
			config: "CONFIG_DEBUG_INFO=y\nCONFIG_EMBEDDED=y\n",
			toolchain: Toolchain{CFlags: []string{
				"-std=gnu89", "-fno-pie", "-no-pie", "-mno-mmx", "-mno-sse", "-mno-sse2", "-mno-3dnow",
			}},
			release: "2.6.32.71-runv",
		},
		"debian-6.1": {
			spec: SourceSpec{Name: "debian-6.1", Version: "6.1", Candidates: []Candidate{
				{Type: CandidateDebian, Package: "linux-source-6.1", Path: "/usr/src/linux-source-6.1.tar.xz"},
			}},
			tarball: debianTar, config: "CONFIG_EXPERT=y\nCONFIG_TTY=y\nCONFIG_DEBUG_INFO_DWARF5=y\n", release: "6.1.",
		},
	}
}

// realRecipe gives the recipe of a case with a configuration.
func (c realCase) recipe(t testing.TB, cache *Cache, config string) Recipe {
	t.Helper()
	file := c.tarball(t)
	if len(c.spec.Candidates) > 0 {
		file = ""
	}
	s, err := cache.FetchSource(t.Context(), c.spec, file, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := Recipe{
		Source: s, Version: s.Version, Arch: "x86_64", LocalVersion: "-runv", Base: "allnoconfig",
		Fragments: []Fragment{
			{Name: "small.config", Data: []byte(smallConfig + c.config)},
			{Name: "difference.config", Data: []byte(config)},
		},
		Toolchain: c.toolchain,
	}
	if c.series != "" {
		series, err := backports.Load(c.series)
		if err != nil {
			t.Fatal(err)
		}
		if r.Patches, err = series.Select([]string{"toolchain"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// buildReal builds in a cache of the proof.
func buildReal(t *testing.T, c realCase, dir, config string, jobs int) *Build {
	t.Helper()
	cache, err := OpenCache(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := cache.Build(t.Context(), c.recipe(t, cache, config), BuildOptions{Jobs: jobs}, func(e Event) {
		if e.Total != 0 && e.Done > e.Total {
			t.Errorf("more than all: %+v", e)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: cached %v, built in %v", b.KernelRelease, b.Cached, b.Duration)
	return b
}

// TestRealKernelsAreReproducible builds a configuration from nothing in one
// folder, with one job, and in another folder, with two, by changing the kernel of
// another configuration. All files must be alike.
func TestRealKernelsAreReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: -short")
	}
	// Six builds; e2e proves the same of the whole 2.6.32 profile in every run.
	if os.Getenv("RUNV_TEST_REAL_KERNELS") == "" {
		t.Skip("skipped: six kernel builds; set RUNV_TEST_REAL_KERNELS=1 to run them")
	}
	requireTools(t)
	for name, c := range realCases() {
		t.Run(name, func(t *testing.T) {
			c.tarball(t)
			proof := filepath.Join(proofDir(t), name)
			clean := buildReal(t, c, filepath.Join(proof, "a"), oneConfig, 1)
			if !strings.HasPrefix(clean.KernelRelease, c.release) || !strings.HasSuffix(clean.KernelRelease, "-runv") {
				t.Errorf("release %q, want %s...-runv", clean.KernelRelease, c.release)
			}
			other := filepath.Join(proof, "another-folder", "of-another-length")
			before := buildReal(t, c, other, otherConfig, 2)
			incremental := buildReal(t, c, other, oneConfig, 2)
			if clean.Key != incremental.Key {
				t.Errorf("keys %s and %s", clean.Key, incremental.Key)
			}
			if !maps.Equal(clean.SHA256, incremental.SHA256) {
				t.Errorf("from nothing %v\nincremental %v\nin %s and %s", clean.SHA256, incremental.SHA256, clean.Dir, incremental.Dir)
			}
			if before.SHA256["vmlinuz"] == incremental.SHA256["vmlinuz"] {
				t.Error("the configurations do not differ: the comparison says nothing")
			}
			for _, b := range []*Build{clean, before, incremental} {
				checkPlan(t, b)
			}
			data, err := os.ReadFile(incremental.Vmlinux)
			if err != nil {
				t.Fatal(err)
			}
			if i := bytes.Index(data, []byte("of-another-length")); i >= 0 {
				t.Errorf("vmlinux holds the folder of the build: %q", data[max(0, i-60):i+60])
			}
		})
	}
}

var (
	plannedInLog  = regexp.MustCompile(`(?m)^\+ # (\d+) objects to compile$`)
	compiledInLog = regexp.MustCompile(`(?m)^  (?:CC|AS) (?:\[M\])? *([^/\s]\S*\.o)$`) // not objtool's
)

// checkPlan compares the objects that were planned with those in the log.
func checkPlan(t *testing.T, b *Build) {
	t.Helper()
	log, err := os.ReadFile(b.Log)
	if err != nil {
		t.Fatal(err)
	}
	m := plannedInLog.FindSubmatch(log)
	if m == nil {
		t.Fatalf("%s says no plan", b.Log)
	}
	planned, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	real := map[string]bool{}
	for _, m := range compiledInLog.FindAllSubmatch(log, -1) {
		real[string(m[1])] = true
	}
	off := float64(planned-len(real)) / float64(len(real))
	t.Logf("%d objects planned, %d compiled", planned, len(real))
	if off > 0.05 || off < -0.05 {
		t.Errorf("%d objects planned, %d compiled: %.0f %% off", planned, len(real), 100*off)
	}
}
