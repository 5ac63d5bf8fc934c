// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fakeMake puts a make before the real one in PATH that tells on whoever
// compiles with it.
func fakeMake(t *testing.T) (env, log string) {
	t.Helper()
	dir := t.TempDir()
	log = filepath.Join(dir, "log")
	script := "#!/bin/sh\necho \"$@\" >> " + log + "\nexec /usr/bin/make \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, "make"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return "PATH=" + dir + ":" + os.Getenv("PATH"), log
}

func TestASecondBuildStartsNoMake(t *testing.T) {
	onEachKernel(t, func(t *testing.T, k guestKernel) {
		k.image(t)
		path, log := fakeMake(t)
		r := command{args: append([]string{"--profile", k.profile}, k.source(t)...), env: []string{path}}.run(t).must(t)
		if got := strings.TrimSpace(r.stdout); got != built.digests[k.profile] {
			t.Errorf("digest %s, the first build's was %s", got, built.digests[k.profile])
		}
		if calls, err := os.ReadFile(log); err == nil && len(bytes.TrimSpace(calls)) > 0 {
			t.Errorf("make was called:\n%s", calls)
		}
	})
}

func TestConfigIsAsAskedFor(t *testing.T) {
	onEachKernel(t, func(t *testing.T, k guestKernel) {
		source := k.source(t)
		kbuild(t, append([]string{"config", "--check", "--profile", k.profile}, source...)...).must(t)
		r := kbuild(t, append([]string{"config", "--profile", k.profile}, source...)...).must(t)
		if !strings.Contains(r.stdout, "\nCONFIG_VIRTIO_CONSOLE=y\n") {
			t.Error("the configuration has no CONFIG_VIRTIO_CONSOLE=y")
		}
	})
}

func TestConfigProblemsNameSymbolAndUnmetDependency(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "mine.config"), "# CONFIG_NET is not set\nCONFIG_VETH=y\n")
	write(t, filepath.Join(dir, "mine.yaml"), "name: mine\nextends: debian-6.1\nconfig:\n  fragments: [mine.config]\n")
	r := kbuild(t, "config", "--check", "--profile", filepath.Join(dir, "mine.yaml"))
	if r.code != 3 || !strings.Contains(r.stderr, "VETH") || !strings.Contains(r.stderr, "mine.config:2") || !strings.Contains(r.stderr, "NET") {
		t.Errorf("%v\nwant exit code 3 and VETH, mine.config:2 and its dependency named", r)
	}
	write(t, filepath.Join(dir, "mine.config"), "CONFIG_NO_SUCH_SYMBOL=y\n")
	r = kbuild(t, "--profile", filepath.Join(dir, "mine.yaml"))
	if r.code != 3 || !strings.Contains(r.stderr, "NO_SUCH_SYMBOL") || !strings.Contains(r.stderr, "mine.config:1") {
		t.Errorf("%v\nwant exit code 3, NO_SUCH_SYMBOL and mine.config:1", r)
	}
}

// A tree of this kind is made by whoever edits it: kbuild must name what broke.
func TestACompilerErrorIsTheLastLine(t *testing.T) {
	tree := unpack2632(t)
	path := filepath.Join(tree, "kernel/sys.c")
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, "int broken(void) { return undeclared_thing; }\n"+string(source))
	cache := "RUNV_LEGACY_CACHE=" + t.TempDir()
	r := command{args: []string{"--profile", "2.6.32", "--source", tree}, env: []string{cache}}.run(t)
	lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
	last := lines[len(lines)-1]
	if r.code != 3 || !strings.Contains(last, "kernel/sys.c:1") || !strings.Contains(last, "undeclared_thing") || !strings.Contains(last, "log") {
		t.Errorf("exit code %d, last line:\n%s\nwant code 3 and kernel/sys.c:1, undeclared_thing and the log's path", r.code, last)
	}
	if r.stdout != "" {
		t.Errorf("a failed build printed %q", r.stdout)
	}
}

// unpack2632 gives a copy of the 2.6.32.71 tree, or skips.
func unpack2632(t *testing.T) string {
	t.Helper()
	tarball := os.Getenv(env2632)
	if tarball == "" {
		found, err := filepath.Glob(filepath.Join(cacheDir(t), "sources", "import-*.tar"))
		if err != nil || len(found) == 0 {
			t.Skipf("no source of Linux 2.6.32.71: set %s to its tarball, or fill kbuild's cache", env2632)
		}
		tarball = found[0]
	}
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-xf", tarball, "-C", dir, "--strip-components=1").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	return dir
}

func cacheDir(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("RUNV_LEGACY_CACHE"); dir != "" {
		return dir
	}
	base, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(base, "runv-legacy")
}

func TestAFullDiskIsSaidAndLeavesNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small tmpfs needs root")
	}
	small := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=2m", "none", small).CombinedOutput(); err != nil {
		t.Skipf("mount a small tmpfs: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", small).Run() })
	k := debian6
	k.image(t)
	store := "RUNV_LEGACY_STORE=" + filepath.Join(small, "store")
	r := command{args: append([]string{"--profile", k.profile}, k.source(t)...), env: []string{store}}.run(t)
	if r.code == 0 || r.stdout != "" || !strings.Contains(r.stderr, "space") {
		t.Errorf("%v\nwant a failure that names the lack of space", r)
	}
	r = command{args: []string{"list", "--json"}, env: []string{store}}.run(t).must(t)
	if strings.TrimSpace(r.stdout) != "[]" {
		t.Errorf("the full store lists %s", r.stdout)
	}
}

func TestAnInterruptedBuildIsNotMistakenForAWholeOne(t *testing.T) {
	k := old2632
	source := k.source(t)
	env := []string{"RUNV_LEGACY_CACHE=" + t.TempDir(), "RUNV_LEGACY_STORE=" + t.TempDir() + "/store"}
	if len(source) == 0 {
		source = []string{"--source", unpack2632(t)}
	}
	r := command{args: append([]string{"--profile", k.profile}, source...), env: env, limit: 25 * time.Second}.run(t)
	if r.code != 130 || r.stdout != "" {
		t.Fatalf("%v\nwant exit code 130 and no digest", r)
	}
	r = command{args: []string{"list", "--json"}, env: env}.run(t).must(t)
	if strings.TrimSpace(r.stdout) != "[]" {
		t.Errorf("after the interrupt the store lists %s", r.stdout)
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
