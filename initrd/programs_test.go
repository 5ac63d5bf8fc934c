package initrd_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runv-legacy/runv-legacy/initrd"
)

// unpack reads an archive that Build, Programs or Compress made.
func unpack(t *testing.T, data []byte) map[string]initrd.Entry {
	t.Helper()
	zr, err := gzip.NewReader(bytes.NewReader(data))
	must(t, err)
	entries, err := initrd.Read(zr, initrd.Limits{})
	must(t, err)
	byName := map[string]initrd.Entry{}
	for _, e := range entries {
		byName[e.Name] = e
	}
	return byName
}

// notStarted are commands that would end the machine they run on.
func notStarted() []string { return []string{"poweroff", "shutdown"} }

// checkStart runs a program with arguments that it cannot do anything with or
// that make it show its use: it must get as far as saying so.
func checkStart(t *testing.T, name string, run func(args ...string) (int, string)) {
	t.Helper()
	args := []string{"/" + name, "--help"}
	if slices.Contains([]string{"yes", "sleep"}, path.Base(name)) {
		args = []string{"/bin/timeout", "1s", "/" + name, "0.1"}
	}
	code, out := run(args...)
	for _, bad := range []string{"panic:", "goroutine ", "Failed to run command", "not present in busybox", "fatal error"} {
		if strings.Contains(out, bad) {
			t.Errorf("%q: exit code %d, %q", args, code, out)
		}
	}
	if code > 125 && path.Base(name) != "yes" {
		t.Errorf("%q did not start: exit code %d, %q", args, code, out)
	}
}

// scripts are for `sh -c`, with the output that they must have.
func scripts() map[string]string {
	return map[string]string{
		"echo a b | cat | wc -w":                          "2\n",
		"for i in 1 2 3; do echo $i; done | tail -n 1":    "3\n",
		"false || echo $?":                                "1\n",
		"true && test -d /etc && [ 1 -lt 2 ] && echo yes": "yes\n",
		"x=$(echo in); f() { echo $1$x; }; f go":          "goin\n",
		"set -e; trap 'echo bye' EXIT; false; echo no":    "bye\n",
		"printf 'c\\nb\\na\\n' | sort | head -n 2":        "a\nb\n",
		"cat <<X\nhere\nX":                                "here\n",
		"echo root | grep -c r":                           "1\n",
		"printf abc | sha256sum":                          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  -\n",
		"env -i A=1 env":                                  "A=1\n",
		"mkdir -p /tmp/d/e && cp /etc/passwd /tmp/d/p && mv /tmp/d/p /tmp/d/e/q && ln -s q /tmp/d/e/l && chmod 600 /tmp/d/e/q && head -c 4 /tmp/d/e/l && rm -r /tmp/d && find -name d /tmp": "root",
		"(sleep 0.2; echo later) & echo now; wait":     "now\nlater\n",
		"readlink /bin/sh; readlink -f /bin/../bin/sh": "bb\n/bin/bb\n",
		"which ls":           "/bin/ls\n",
		"seq 3 | xargs echo": "1 2 3\n",
	}
}

// chroot unpacks the programs and gives a function that runs them there, in
// namespaces of their own.
func chroot(t *testing.T) (run func(args ...string) (int, string), names []string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can chroot into the programs")
	}
	data, err := initrd.Programs(context.Background())
	must(t, err)
	dir := t.TempDir()
	for name, e := range unpack(t, data) {
		file := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(file), 0o755))
		switch e.Type() {
		case initrd.TypeSymlink:
			must(t, os.Symlink(e.Link, file))
			names = append(names, name)
		case initrd.TypeFile:
			must(t, os.WriteFile(file, e.Data, os.FileMode(e.Perm())))
		}
	}
	must(t, os.MkdirAll(filepath.Join(dir, "tmp"), 0o755))
	must(t, os.MkdirAll(filepath.Join(dir, "dev"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "dev/null"), nil, 0o666))
	slices.Sort(names)
	return func(args ...string) (int, string) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Path = args[0]
		cmd.Env = []string{"PATH=/bin:/sbin", "HOME=/"}
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Chroot:     dir,
			Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC,
		}
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatalf("%q: %v", args, err)
		}
		if s := cmd.ProcessState.Sys().(syscall.WaitStatus); s.Signaled() {
			return 128 + int(s.Signal()), string(out)
		}
		return cmd.ProcessState.ExitCode(), string(out)
	}, names
}

// Go 1.24 and later no longer promise to run on 2.6.32.
func TestGuestProgramsAreOfGo123(t *testing.T) {
	guestinit, err := initrd.GuestInit(context.Background())
	must(t, err)
	programs, err := initrd.Programs(context.Background())
	must(t, err)
	for name, binary := range map[string][]byte{"guestinit": guestinit, "programs": unpack(t, programs)["bin/bb"].Data} {
		info, err := buildinfo.Read(bytes.NewReader(binary))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if info.GoVersion != "go1.23.12" {
			t.Errorf("%s was built by %s", name, info.GoVersion)
		}
	}
}

func TestEveryProgramStarts(t *testing.T) {
	run, names := chroot(t)
	if len(names) < 70 {
		t.Errorf("only %d programs: %q", len(names), names)
	}
	for _, name := range names {
		if !slices.Contains(notStarted(), path.Base(name)) {
			checkStart(t, name, run)
		}
	}
}

func TestShell(t *testing.T) {
	run, _ := chroot(t)
	for script, want := range scripts() {
		if code, got := run("/bin/sh", "-c", script); got != want {
			t.Errorf("%s\ngives %d %q, want %q", script, code, got, want)
		}
	}
	for script, want := range map[string]int{"exit 3": 3, "true": 0, "false": 1, "nonexistent": 127, "set -e; false; exit 0": 1, "if": 2} {
		if code, out := run("/bin/sh", "-c", script); code != want {
			t.Errorf("%s: exit code %d, want %d: %q", script, code, want, out)
		}
	}
	if _, got := run("/bin/sh", "-c", `echo "$0 $# $2"`, "name", "a", "b"); got != "name 2 b\n" {
		t.Errorf("positional parameters: %q", got)
	}
	if _, got := run("/bin/sh", "-exc", "echo x"); got != "+ echo x\nx\n" {
		t.Errorf("options in one word: %q", got)
	}
}

// Both programs in two checkouts at different places, built from nothing.
func TestProgramsAreReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: builds everything twice")
	}
	var first [2][]byte
	for i := range 2 {
		dir := filepath.Join(t.TempDir(), strings.Repeat("x", 1+7*i))
		must(t, os.MkdirAll(filepath.Join(dir, "initrd/embedded"), 0o755))
		must(t, os.CopyFS(filepath.Join(dir, "guestinit"), os.DirFS("../guestinit")))
		mod, err := os.ReadFile("../go.mod")
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, "go.mod"), mod, 0o644))
		t.Setenv("RUNV_LEGACY_CACHE", t.TempDir())
		must(t, initrd.MakeEmbedded(context.Background(), dir, nil))
		for j, name := range []string{"guestinit", "programs.cpio.gz"} {
			data, err := os.ReadFile(filepath.Join(dir, "initrd/embedded", name))
			must(t, err)
			if i == 0 {
				first[j] = data
			} else if !bytes.Equal(first[j], data) {
				t.Errorf("%s differs between checkouts: %d and %d bytes", name, len(first[j]), len(data))
			}
		}
	}
	// What this test binary would use is the same, be it embedded or cached.
	for j, get := range []func(context.Context) ([]byte, error){initrd.GuestInit, initrd.Programs} {
		data, err := get(context.Background())
		must(t, err)
		if !bytes.Equal(data, first[j]) {
			t.Errorf("program %d is not what the checkout's sources give", j)
		}
	}
}

func ExampleRead() {
	var archive bytes.Buffer
	err := initrd.Write(&archive, []initrd.Entry{
		initrd.File("etc/hostname", 0o644, []byte("guest\n")),
		initrd.CharDevice("dev/console", 0o600, 5, 1),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	entries, err := initrd.Read(&archive, initrd.Limits{})
	for _, e := range entries {
		fmt.Printf("%06o %s %d:%d\n", e.Mode, e.Name, e.Major, e.Minor)
	}
	fmt.Println(err)
	// Output:
	// 040755 dev 0:0
	// 020600 dev/console 5:1
	// 040755 etc 0:0
	// 100644 etc/hostname 0:0
	// <nil>
}
