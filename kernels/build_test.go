// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/runv-legacy/runv-legacy/backports"
)

const tinyVersion = "2.6.32.71"

// tiny is a cache of its own with testdata/build_tree.txtar as the source.
type tiny struct {
	*Cache
	t      testing.TB
	recipe Recipe
}

func newTiny(t testing.TB, dir string) *tiny {
	t.Helper()
	requireTools(t)
	c, err := OpenCache(dir)
	if err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(t.TempDir(), "linux")
	extractTiny(t, src)
	s, err := c.FetchSource(t.Context(), SourceSpec{Name: "tiny", Version: tinyVersion}, src, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &tiny{c, t, Recipe{
		Source: s, Version: tinyVersion, Arch: "x86_64", LocalVersion: "-runv", Base: "allnoconfig",
		Fragments: []Fragment{{Name: "tiny.config", Data: []byte("# CONFIG_VIRTIO is not set\n")}},
	}}
}

// requireTools skips a test on a host that cannot build anything.
func requireTools(t testing.TB) {
	t.Helper()
	if err := CheckTools(t.Context(), Toolchain{}, tinyVersion); err != nil {
		t.Skipf("skipped: %v", err)
	}
}

func extractTiny(t testing.TB, dir string) {
	t.Helper()
	ar, err := txtar.ParseFile("testdata/build_tree.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range ar.Files {
		name := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// with gives the recipe with another fragment.
func (k *tiny) with(fragment string) Recipe {
	r := k.recipe
	r.Fragments = []Fragment{{Name: "tiny.config", Data: []byte(fragment)}}
	return r
}

func (k *tiny) mustBuild(r Recipe, o BuildOptions, p Progress) *Build {
	k.t.Helper()
	b, err := k.Build(k.t.Context(), r, o, p)
	if err != nil {
		k.t.Fatal(err)
	}
	return b
}

// recorder keeps events.
type recorder struct {
	mu     sync.Mutex
	events []Event
}

func (r *recorder) progress(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// has says whether a stage reached a state.
func (r *recorder) has(stage string, s State) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.events, func(e Event) bool { return e.Stage == stage && e.State == s })
}

// compiled names the objects that were reported as compiled.
func (r *recorder) compiled() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for _, e := range r.events {
		if e.Stage == StageCompile && e.State == Advanced {
			names = append(names, filepath.Base(e.Detail))
		}
	}
	slices.Sort(names)
	return names
}

// countMakes puts a make first into PATH that writes a line into a file each time
// it is started by name, and gives the number of these lines.
func countMakes(t *testing.T) func() int {
	t.Helper()
	real, err := exec.LookPath("make")
	if err != nil {
		t.Skip("skipped: make is not installed")
	}
	dir := t.TempDir()
	calls := filepath.Join(dir, "calls")
	script := "#!/bin/sh\necho make >> " + calls + "\nexec " + real + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, "make"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() int {
		b, _ := os.ReadFile(calls)
		return bytes.Count(b, []byte("\n"))
	}
}

func TestBuildGivesAWholeKernel(t *testing.T) {
	k := newTiny(t, t.TempDir())
	var rec recorder
	var verbose bytes.Buffer
	b := k.mustBuild(k.with("CONFIG_VIRTUALIZATION=y\nCONFIG_VIRTIO=y\n"), BuildOptions{Jobs: 2, Verbose: &verbose}, rec.progress)
	if b.KernelRelease != "2.6.32.71-runv" || b.Cached || b.Duration <= 0 || !strings.Contains(b.Compiler, "gcc") {
		t.Errorf("Build = %+v", b)
	}
	for name, path := range map[string]string{"vmlinuz": b.Image, "vmlinux": b.Vmlinux, "System.map": b.SystemMap, "config": b.Config} {
		data, err := os.ReadFile(path)
		if err != nil || len(data) == 0 || b.SHA256[name] != hexSHA256(data) {
			t.Errorf("%s: %v, %d bytes, sha256 recorded %q", path, err, len(data), b.SHA256[name])
		}
	}
	log, err := os.ReadFile(b.Log)
	if err != nil || !bytes.Contains(log, []byte("  CC      kernel/main.o\n")) || !bytes.Equal(log, verbose.Bytes()) {
		t.Errorf("log %s: %v; verbose copy alike: %v\n%s", b.Log, err, bytes.Equal(log, verbose.Bytes()), log)
	}
	for _, stage := range []string{StageUnpack, StageConfigure, StagePlan, StageCompile, StageStore} {
		if !rec.has(stage, Started) || !rec.has(stage, Finished) {
			t.Errorf("stage %s was not started and finished", stage)
		}
	}
	if got, want := rec.compiled(), []string{"main.o", "printk.o", "virtio.o"}; !slices.Equal(got, want) {
		t.Errorf("compiled %v, want %v", got, want)
	}
	for _, e := range rec.events {
		if e.Done > e.Total && e.Total != 0 || e.Stage == StageCompile && e.Total != 3 {
			t.Errorf("event %+v", e)
		}
	}
}

func TestSecondBuildStartsNoMake(t *testing.T) {
	k := newTiny(t, t.TempDir())
	makes := countMakes(t)
	first := k.mustBuild(k.recipe, BuildOptions{}, nil)
	n := makes()
	if n == 0 {
		t.Fatal("the counting make was not used")
	}
	var rec recorder
	second := k.mustBuild(k.recipe, BuildOptions{Jobs: 7}, rec.progress)
	if !second.Cached || second.Key != first.Key || !maps.Equal(second.SHA256, first.SHA256) || second.KernelRelease != first.KernelRelease {
		t.Errorf("second build = %+v, first %+v", second, first)
	}
	if got := makes(); got != n {
		t.Errorf("make was started %d more times", got-n)
	}
	if want := []Event{{Stage: StageKernel, State: Cached, Detail: "2.6.32.71-runv"}}; !slices.Equal(rec.events, want) {
		t.Errorf("events %+v, want %+v", rec.events, want)
	}
}

func TestSameRecipeAtOnceIsBuiltOnce(t *testing.T) {
	k := newTiny(t, t.TempDir())
	makes := countMakes(t)
	gate := newGate(t)
	r := k.waitingRecipe(gate)

	waiting := make(chan struct{}, 1)
	results := make(chan *Build, 2)
	build := func(p Progress) {
		b, err := k.Build(t.Context(), r, BuildOptions{Jobs: 1}, p)
		if err != nil {
			t.Error(err)
		}
		results <- b
	}
	go build(nil)
	write := gate.open() // the first is in make
	go build(func(e Event) {
		if e.State == Waiting {
			waiting <- struct{}{}
		}
	})
	<-waiting
	write.close()
	a, b := <-results, <-results
	if a == nil || b == nil {
		t.FailNow()
	}
	if a.Cached == b.Cached || a.Key != b.Key {
		t.Errorf("cached: %v and %v, keys %s and %s", a.Cached, b.Cached, a.Key, b.Key)
	}
	if n := makes(); n != 3 { // allnoconfig, the plan, the build
		t.Errorf("make was started %d times, want 3", n)
	}
}

func TestWaitingForAnotherBuildCanBeCancelled(t *testing.T) {
	k := newTiny(t, t.TempDir())
	gate := newGate(t)
	r := k.waitingRecipe(gate)
	done := make(chan error, 1)
	go func() {
		_, err := k.Build(t.Context(), r, BuildOptions{}, nil)
		done <- err
	}()
	write := gate.open()
	ctx, cancel := context.WithCancel(t.Context())
	_, err := k.Build(ctx, r, BuildOptions{}, func(e Event) {
		if e.State == Waiting {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	write.close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestPatchesAreApplied(t *testing.T) {
	k := newTiny(t, t.TempDir())
	patch := "diff --git a/kernel/virtio.c b/kernel/virtio.c\n--- a/kernel/virtio.c\n+++ b/kernel/virtio.c\n@@ -1 +1 @@\n-int virtio;\n+int virtio_patched;\n"
	r := k.with("CONFIG_VIRTUALIZATION=y\nCONFIG_VIRTIO=y\n")
	plain := k.mustBuild(r, BuildOptions{}, nil)
	r.Patches = []backports.Patch{{ID: "rename", Data: []byte(patch)}}
	var rec recorder
	b := k.mustBuild(r, BuildOptions{}, rec.progress)
	if b.Key == plain.Key || !rec.has(StagePatch, Finished) {
		t.Errorf("key %s, without the patch %s", b.Key, plain.Key)
	}
	if m, err := os.ReadFile(b.SystemMap); err != nil || !bytes.Contains(m, []byte("virtio_patched")) {
		t.Errorf("System.map: %v\n%s", err, m)
	}
	r.Patches = append(r.Patches, backports.Patch{ID: "again", Data: []byte(patch)})
	_, err := k.Build(t.Context(), r, BuildOptions{}, nil)
	var ae *backports.ApplyError
	if !errors.As(err, &ae) || ae.Patch != "again" {
		t.Errorf("a patch that does not fit: %v", err)
	}
}

func TestBuildThatIsNotWholeIsBuiltAgain(t *testing.T) {
	for name, spoil := range map[string]func(*Build) error{
		"record garbled":   func(b *Build) error { return os.WriteFile(filepath.Join(b.Dir, "build.json"), []byte("{"), 0o644) },
		"record of no key": func(b *Build) error { return os.WriteFile(filepath.Join(b.Dir, "build.json"), []byte("{}"), 0o644) },
		"record missing":   func(b *Build) error { return os.Remove(filepath.Join(b.Dir, "build.json")) },
		"kernel truncated": func(b *Build) error { return os.Truncate(b.Image, 5) },
		"vmlinux missing":  func(b *Build) error { return os.Remove(b.Vmlinux) },
	} {
		t.Run(name, func(t *testing.T) {
			k := newTiny(t, t.TempDir())
			first := k.mustBuild(k.recipe, BuildOptions{}, nil)
			if err := spoil(first); err != nil {
				t.Fatal(err)
			}
			second := k.mustBuild(k.recipe, BuildOptions{}, nil)
			if second.Cached {
				t.Error("the spoiled build was used")
			}
			if !maps.Equal(first.SHA256, second.SHA256) {
				t.Errorf("built again: %v, before %v", second.SHA256, first.SHA256)
			}
			if got := digestFile(t, second.Image); got != second.SHA256["vmlinuz"] {
				t.Errorf("vmlinuz has sha256 %s, recorded %s", got, second.SHA256["vmlinuz"])
			}
			if !k.mustBuild(k.recipe, BuildOptions{}, nil).Cached {
				t.Error("the new build is not used")
			}
		})
	}
}

func digestFile(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return hexSHA256(b)
}
