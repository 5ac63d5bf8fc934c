// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// gate is where the tree's wait.o stops.
type gate struct {
	t    *testing.T
	path string
}

type opened struct{ f *os.File }

func newGate(t *testing.T) gate {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gate")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return gate{t, path}
}

// open returns when make waits at the gate.
func (g gate) open() opened {
	g.t.Helper()
	f, err := os.OpenFile(g.path, os.O_WRONLY, 0)
	if err != nil {
		g.t.Fatal(err)
	}
	return opened{f}
}

// close lets make go on.
func (o opened) close() {
	fmt.Fprintln(o.f)
	o.f.Close()
}

// waitingRecipe is a recipe whose build waits at g.
func (k *tiny) waitingRecipe(g gate) Recipe {
	r := k.with("CONFIG_WAIT=y\n")
	r.Toolchain.MakeVars = map[string]string{"GATE": g.path}
	return r
}

// passGate lets every make that comes to the gate through.
func (g gate) passGate() (stop func()) {
	f, err := os.OpenFile(g.path, os.O_RDWR, 0) // never blocks, is its own reader
	if err != nil {
		g.t.Fatal(err)
	}
	fmt.Fprint(f, strings.Repeat("\n", 100))
	return func() { f.Close() }
}

func TestInterruptedBuildIsNotGoneOnFrom(t *testing.T) {
	k := newTiny(t, t.TempDir())
	g := newGate(t)
	r := k.waitingRecipe(g)
	cause := errors.New("stopped by the test")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := k.Build(ctx, r, BuildOptions{Jobs: 1}, nil)
		done <- err
	}()
	w := g.open()
	defer w.f.Close()
	cancel(cause)
	if err := <-done; !errors.Is(err, cause) {
		t.Errorf("error %v, want the cause of the context", err)
	}
	// Nobody reads at the gate any more: make's shell is gone, too.
	if _, err := w.f.WriteString("\n"); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write to the gate: %v, want EPIPE", err)
	}
	if entries, err := os.ReadDir(k.path(buildsDir)); err != nil || len(entries) != 0 {
		t.Errorf("builds: %v %v", entries, err)
	}
	_, tree := k.keysOf(r)
	left := k.path(treesDir, tree, treeSource, "left-by-the-stopped-build")
	if err := os.WriteFile(left, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	defer g.passGate()()
	b := k.mustBuild(r, BuildOptions{}, nil)
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the tree of the stopped build was used again (%v)", err)
	}
	if m, err := os.ReadFile(b.SystemMap); err != nil || !strings.Contains(string(m), " B wait") {
		t.Errorf("System.map: %v\n%s", err, m)
	}
}

func (k *tiny) keysOf(r Recipe) (build, tree string) {
	k.t.Helper()
	c, err := ProbeCompiler(k.t.Context(), r.Toolchain)
	if err != nil {
		k.t.Fatal(err)
	}
	build, tree, err = keys(r, c)
	if err != nil {
		k.t.Fatal(err)
	}
	return build, tree
}

// TestMain lets a test start itself as another kbuild.
func TestMain(m *testing.M) {
	if dir := os.Getenv("KERNELS_TEST_BUILD_IN"); dir != "" {
		os.Exit(otherBuilder(dir))
	}
	os.Exit(m.Run())
}

// otherBuilder builds what startOther asked for.
func otherBuilder(dir string) int {
	ctx := context.Background()
	c, err := OpenCache(dir)
	if err == nil {
		var s Source
		s, err = c.FetchSource(ctx, SourceSpec{Name: "tiny", Version: tinyVersion}, os.Getenv("KERNELS_TEST_SOURCE"), nil)
		if err == nil {
			var b *Build
			b, err = c.Build(ctx, Recipe{
				Source: s, Version: tinyVersion, Arch: "x86_64", LocalVersion: "-runv", Base: "allnoconfig",
				Fragments: []Fragment{{Name: "tiny.config", Data: []byte("CONFIG_WAIT=y\n")}},
				Toolchain: Toolchain{MakeVars: map[string]string{"GATE": os.Getenv("KERNELS_TEST_GATE")}},
			}, BuildOptions{Jobs: 1}, func(e Event) {
				if e.State == Waiting {
					fmt.Println("waiting")
				}
			})
			if err == nil {
				fmt.Printf("built cached=%v %s\n", b.Cached, b.Key)
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// startOther starts another process that builds waitingRecipe.
func (k *tiny) startOther(g gate) *exec.Cmd {
	k.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "KERNELS_TEST_BUILD_IN="+k.Dir(),
		"KERNELS_TEST_SOURCE="+k.recipe.Source.Path, "KERNELS_TEST_GATE="+g.path)
	cmd.Stderr = os.Stderr
	return cmd
}

func TestTreeOfAKilledBuilderIsMadeAnew(t *testing.T) {
	k := newTiny(t, t.TempDir())
	g := newGate(t)
	cmd := k.startOther(g)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w := g.open()
	defer w.f.Close()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	// The death signal reaches make and its shell: the gate loses its reader.
	poll := []unix.PollFd{{Fd: int32(w.f.Fd())}}
	if n, err := unix.Poll(poll, 20_000); err != nil || n != 1 || poll[0].Revents&unix.POLLERR == 0 {
		t.Fatalf("make outlives its kbuild: poll %d, %v, events %#x", n, err, poll[0].Revents)
	}
	r := k.waitingRecipe(g)
	_, tree := k.keysOf(r)
	left := k.path(treesDir, tree, treeSource, "left-by-the-killed-build")
	if err := os.WriteFile(left, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	defer g.passGate()()
	if b := k.mustBuild(r, BuildOptions{}, nil); b.Cached {
		t.Error("a killed build counts as built")
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the killed build's tree was used again (%v)", err)
	}
}

func TestTwoProcessesBuildOnce(t *testing.T) {
	k := newTiny(t, t.TempDir())
	makes := countMakes(t)
	g := newGate(t)
	first := k.startOther(g)
	var out, out2 strings.Builder
	first.Stdout, first.WaitDelay = &out, time.Second
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	w := g.open()
	second := k.startOther(g)
	pipe, err := second.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	for !strings.Contains(out2.String(), "waiting\n") {
		n, err := pipe.Read(buf)
		out2.Write(buf[:n])
		if err != nil {
			t.Fatalf("the second process did not wait: %q %v", out2.String(), err)
		}
	}
	w.close()
	for err == nil {
		var n int
		n, err = pipe.Read(buf)
		out2.Write(buf[:n])
	}
	if err := errors.Join(first.Wait(), second.Wait()); err != nil {
		t.Fatal(err)
	}
	key, _ := k.keysOf(k.waitingRecipe(g))
	if want := "built cached=false " + key + "\n"; out.String() != want {
		t.Errorf("first said %q, want %q", out.String(), want)
	}
	if want := "waiting\nbuilt cached=true " + key + "\n"; out2.String() != want {
		t.Errorf("second said %q, want %q", out2.String(), want)
	}
	if n := makes(); n != 3 {
		t.Errorf("make was started %d times, want 3", n)
	}
}

func TestOldTreesGo(t *testing.T) {
	k := newTiny(t, t.TempDir())
	var made []string
	for i := range maxTrees + 2 {
		r := k.recipe
		r.Toolchain.CFlags = []string{fmt.Sprintf("-DTREE=%d", i)}
		k.mustBuild(r, BuildOptions{}, nil)
		_, tree := k.keysOf(r)
		made = append(made, tree)
		// One of them is used again and again, by another configuration.
		r = k.with(fmt.Sprintf("CONFIG_VIRTUALIZATION=y\n# %d\n", i))
		r.Toolchain.CFlags = []string{"-DTREE=0"}
		k.mustBuild(r, BuildOptions{}, nil)
	}
	entries, err := os.ReadDir(k.path(treesDir))
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	want := append([]string{made[0]}, made[len(made)-maxTrees+1:]...)
	slices.Sort(want)
	if !slices.Equal(left, want) {
		t.Errorf("trees left %v, want the most recently used %v", left, want)
	}
}

func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: a small tmpfs can be mounted by root only")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("skipped: mount a small tmpfs: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	k := newTiny(t, dir)
	r := k.with("CONFIG_BIG=y\n")
	_, err := k.Build(t.Context(), r, BuildOptions{}, nil)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("error %v, want ENOSPC", err)
	}
	if !strings.Contains(strings.ToLower(err.Error()), "no space left on device") {
		t.Errorf("error %q does not say so", err)
	}
	for _, d := range []string{buildsDir, treesDir} {
		if entries, err := os.ReadDir(k.path(d)); err != nil || len(entries) != 0 {
			t.Errorf("%s: %v %v, want nothing", d, entries, err)
		}
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=256m"); err != nil {
		t.Fatal(err)
	}
	if b := k.mustBuild(r, BuildOptions{}, nil); b.Cached {
		t.Error("the build that failed counts as built")
	}
}
