// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBuildsAreReproducible builds a profile a second time, in another folder
// and with another -j, at another time, and compares everything down to the
// manifest's digest. The proof holds for as long as neither kbuild nor what goes
// into the build changes, so it is kept beside the built kernels, under a name
// made of both.
//
// Package kernels proves the same of 6.1, with a smaller configuration.
func TestBuildsAreReproducible(t *testing.T) {
	k := old2632
	source := k.source(t)
	first := filepath.Join(t.TempDir(), "first")
	a := kbuild(t, append([]string{"--profile", k.profile, "--output", first}, source...)...).must(t)
	proof := filepath.Join(cacheDir(t), "proofs", digestOf(t, suite.kbuild)+"-"+strings.ReplaceAll(strings.TrimSpace(a.stdout), ":", "-"))
	if _, err := os.Stat(proof); err == nil {
		t.Logf("proved before for this kbuild and this digest: %s", proof)
		return
	}
	second := filepath.Join(t.TempDir(), "a", "longer", "path", "second")
	env := []string{
		"RUNV_LEGACY_CACHE=" + filepath.Join(t.TempDir(), "elsewhere"),
		"RUNV_LEGACY_STORE=" + filepath.Join(t.TempDir(), "store"),
		"TZ=Asia/Tokyo", "LANG=C",
	}
	if len(source) == 0 && k.profile == old2632.profile {
		found, err := filepath.Glob(filepath.Join(cacheDir(t), "sources", "import-*.tar"))
		if err != nil || len(found) == 0 {
			t.Skip("kbuild's cache has no imported source to build from a second time")
		}
		source = []string{"--source", found[0]}
	}
	b := command{args: append([]string{"--profile", k.profile, "--output", second, "--jobs", "3"}, source...), env: env}.run(t).must(t)
	for _, name := range []string{"vmlinuz", "vmlinux", "System.map", "config", "initrd.img", "guest.json"} {
		if x, y := digestOf(t, filepath.Join(first, name)), digestOf(t, filepath.Join(second, name)); x != y {
			t.Errorf("%s differs: %s and %s", name, x, y)
		}
	}
	if a.stdout != b.stdout {
		t.Errorf("manifest digests differ: %s and %s", strings.TrimSpace(a.stdout), strings.TrimSpace(b.stdout))
	}
	if t.Failed() {
		return
	}
	if err := os.MkdirAll(filepath.Dir(proof), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, proof, "")
}
