// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestGuestRunsACommandAndPassesOnItsOutputAndExitCode(t *testing.T) {
	onEachKernel(t, func(t *testing.T, k guestKernel) {
		ref := k.image(t)
		r := kbuild(t, "boot", ref, "--", "uname", "-r").must(t)
		if got := strings.TrimSpace(r.stdout); !strings.HasPrefix(got, k.version) || !strings.HasSuffix(got, "-runv") {
			t.Errorf("uname -r in the guest: %q, want %s...-runv", got, k.version)
		}
		for _, c := range []struct {
			name           string
			command        []string
			stdin          string
			stdout, stderr string
			code           int
		}{
			{"exit code", []string{"sh", "-c", "exit 7"}, "", "", "", 7},
			{"both streams", []string{"sh", "-c", "echo out; echo err >&2"}, "", "out\n", "err\n", 0},
			{"standard input and its end", []string{"cat"}, "a\x00b\r\n\xff", "a\x00b\r\n\xff", "", 0},
			{"no such command", []string{"no-such-command"}, "", "", "no-such-command", 127},
			{"not executable", []string{"/etc/passwd"}, "", "", "/etc/passwd", 126},
			{"process 1 is ours and is Go", []string{"sh", "-c", "cat /proc/1/cmdline"}, "", "/init\x00", "", 0},
		} {
			t.Run(c.name, func(t *testing.T) {
				r := command{args: append([]string{"boot", ref, "--"}, c.command...), stdin: c.stdin}.run(t)
				if r.code != c.code || r.stdout != c.stdout || !strings.Contains(r.stderr, c.stderr) {
					t.Errorf("%q: %v\nwant exit code %d, stdout %q, stderr with %q", c.command, r, c.code, c.stdout, c.stderr)
				}
			})
		}
	})
}

func TestGuestRunsProgramsOfARootFileSystem(t *testing.T) {
	root := staticRoot(t)
	tarball := filepath.Join(t.TempDir(), "rootfs.tar.gz")
	if out, err := exec.Command("tar", "-czf", tarball, "-C", root, ".").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	onEachKernel(t, func(t *testing.T, k guestKernel) {
		ref := k.image(t)
		for name, rootfs := range map[string]string{"folder": root, "tarball": tarball} {
			t.Run(name, func(t *testing.T) {
				r := kbuild(t, "boot", ref, "--rootfs", rootfs, "--", "/bin/hello", "world").must(t)
				if r.stdout != "hello world\n" {
					t.Errorf("stdout %q", r.stdout)
				}
			})
		}
	})
}

// staticRoot is a root file system with one program of musl's, the C library
// whose programs run on 2.6.32 as they are.
func staticRoot(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("musl-gcc"); err != nil {
		t.Skip("musl-gcc is not installed; install Debian's musl-tools")
	}
	root := t.TempDir()
	source := filepath.Join(t.TempDir(), "hello.c")
	program := `#include <stdio.h>
#include <sys/stat.h>
int main(int argc, char **argv) {
	struct stat s;
	if (stat("/proc/self", &s) || mkdir("/written", 0755) || argc != 2) return 3;
	return printf("hello %s\n", argv[1]) < 0;
}
`
	if err := os.WriteFile(source, []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("musl-gcc", "-static", "-o", filepath.Join(root, "bin/hello"), source).CombinedOutput(); err != nil {
		t.Fatalf("musl-gcc: %v: %s", err, out)
	}
	return root
}

func TestDeadBootsAreToldApart(t *testing.T) {
	onEachKernel(t, func(t *testing.T, k guestKernel) {
		ref := k.image(t)
		for _, c := range []struct {
			name string
			args []string
			want string
		}{
			{"missing init", []string{"--append", "rdinit=/no/such/init"}, "guest: no init"},
			{"init that ends", []string{"--append", "rdinit=/bin/true"}, "guest: init died"},
			{"no memory", []string{"--memory", "12M"}, "guest: "},
		} {
			t.Run(c.name, func(t *testing.T) {
				r := kbuild(t, append([]string{"boot", ref}, append(c.args, "--", "true")...)...)
				if r.code != 125 || !strings.Contains(r.stderr, c.want) {
					t.Errorf("%v\nwant exit code 125 and %q", r, c.want)
				}
			})
		}
	})
}

func TestOutputHoldsWhatWasBuilt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	k := debian6
	k.image(t)
	kbuild(t, append([]string{"--profile", k.profile, "--output", dir}, k.source(t)...)...).must(t)
	for _, name := range []string{"vmlinuz", "initrd.img", "config", "System.map", "vmlinux", "guest.json"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	initrd, err := os.ReadFile(filepath.Join(dir, "initrd.img"))
	if err != nil {
		t.Fatal(err)
	}
	if len(initrd) > 3<<20 {
		t.Errorf("the initrd has %d bytes, more than 3 MiB", len(initrd))
	}
	cpio := exec.Command("sh", "-c", "gzip -dc initrd.img | cpio -t --quiet")
	cpio.Dir = dir
	out, err := cpio.CombinedOutput()
	if err != nil || !strings.Contains("\n"+string(out), "\ninit\n") {
		t.Errorf("cpio -t: %v\n%s", err, out)
	}
}

// digestOf is the sha256 of a file, in hex.
func digestOf(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
