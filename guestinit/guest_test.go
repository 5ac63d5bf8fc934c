package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/runv-legacy/runv-legacy/guestinit/protocol"
)

// The tests in this file boot a kernel, which has to be given:
// RUNV_TEST_KERNEL_2_6_32 and RUNV_TEST_KERNEL_6_1 are bzImages with a serial
// console built in. If virtio is not, as in a distribution's kernel,
// RUNV_TEST_MODULES_6_1 is its lib/modules/VERSION, after depmod.
var testKernels = []struct{ name, env string }{
	{"2.6.32", "RUNV_TEST_KERNEL_2_6_32"},
	{"6.1", "RUNV_TEST_KERNEL_6_1"},
}

const modulesEnv = "RUNV_TEST_MODULES_6_1"

// modulesFor returns the folder of a kernel's modules, or "".
func modulesFor(kernel string) string {
	if kernel == os.Getenv("RUNV_TEST_KERNEL_6_1") {
		return os.Getenv(modulesEnv)
	}
	return ""
}

// modulesInOrder lists modules after those that modules.dep says they need.
func modulesInOrder(t testing.TB, dir string, names ...string) []string {
	t.Helper()
	dep, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, name := range names {
		for _, line := range strings.Split(string(dep), "\n") {
			path, needs, _ := strings.Cut(line, ":")
			if moduleName(path) != name {
				continue
			}
			// modules.dep names the direct needs first (depmod.d(5)).
			files := append([]string{path}, strings.Fields(needs)...)
			slices.Reverse(files)
			for _, f := range files {
				if !slices.Contains(order, f) {
					order = append(order, f)
				}
			}
		}
	}
	return order
}

const bootTimeout = 120 * time.Second

// forEachKernel runs a test on every kernel that is given.
func forEachKernel(t *testing.T, test func(t *testing.T, kernel string)) {
	for _, k := range testKernels {
		t.Run(k.name, func(t *testing.T) {
			kernel := os.Getenv(k.env)
			if kernel == "" {
				t.Skipf("set %s to a kernel image to boot it", k.env)
			}
			test(t, kernel)
		})
	}
}

// vm is a running QEMU.
type vm struct {
	cmd     *exec.Cmd
	console *lineBuffer
	channel net.Conn
	started time.Time
	// inFlight is the channel's Options.InFlight.
	inFlight int
	exited   chan error
}

type lineBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lineBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lineBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type vmConfig struct {
	kernel, append string
	memory         int
	channel        string // virtconsole, port, serial or none
	initrd         string
}

// boot starts QEMU; it is gone when the test ends.
func boot(t testing.TB, c vmConfig) *vm {
	t.Helper()
	if c.memory == 0 {
		c.memory = 128
	}
	if c.initrd == "" {
		c.initrd = testInitrd(t, true, modulesFor(c.kernel))
	}
	v := &vm{console: &lineBuffer{}, exited: make(chan error, 1), started: time.Now()}
	theirs := v.openChannel(t)
	defer theirs.Close()
	args := []string{"-accel", "tcg", "-nodefaults", "-no-reboot", "-display", "none",
		"-m", fmt.Sprint(c.memory), "-kernel", c.kernel, "-initrd", c.initrd,
		"-append", "console=ttyS0 panic=1 " + c.append, "-serial", "stdio"}
	chardev := []string{"-chardev", "socket,id=ch,fd=3"}
	switch c.channel {
	case "virtconsole":
		args = append(append(args, chardev...), "-device", "virtio-serial-pci", "-device", "virtconsole,chardev=ch")
	case "port":
		args = append(append(args, chardev...), "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=ch,name=org.runv.channel")
	case "serial":
		args = append(append(args, chardev...), "-serial", "chardev:ch")
	}
	v.cmd = exec.Command("qemu-system-x86_64", args...)
	v.cmd.Stdout, v.cmd.Stderr = v.console, v.console
	if c.channel != "none" {
		v.cmd.ExtraFiles = []*os.File{theirs}
	}
	if c.channel == "port" {
		v.inFlight = -1
	}
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { v.exited <- v.cmd.Wait() }()
	t.Cleanup(func() {
		v.cmd.Process.Kill()
		if t.Failed() {
			t.Logf("console:\n%s", v.console)
		}
	})
	return v
}

// openChannel makes the socket pair between the host and QEMU.
func (v *vm) openChannel(t testing.TB) *os.File {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "host"), os.NewFile(uintptr(fds[1]), "qemu")
	defer ours.Close()
	raw, err := theirs.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if v.inFlight, err = protocol.WidenSocket(raw); err != nil {
		t.Fatal(err)
	}
	if v.channel, err = net.FileConn(ours); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.channel.Close() })
	return theirs
}

func (v *vm) connect(t testing.TB, opts protocol.Options) *protocol.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), bootTimeout)
	defer cancel()
	opts.InFlight = v.inFlight
	cl, err := protocol.Connect(ctx, v.channel, protocol.AttachBoot, opts)
	if err != nil {
		t.Fatalf("%v; console:\n%s", err, v.console)
	}
	t.Cleanup(func() { cl.Close() })
	return cl
}

func (v *vm) waitExit(t testing.TB) {
	t.Helper()
	select {
	case err := <-v.exited:
		if err != nil {
			t.Errorf("QEMU: %v", err)
		}
	case <-time.After(bootTimeout):
		t.Fatalf("the machine did not go off; console:\n%s", v.console)
	}
}

var built struct {
	sync.Mutex
	files map[string]string
	dir   string
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// testInitrd packs this package, with or without the entry of its own, the test
// program, and the modules that a channel and the tests need.
func testInitrd(t testing.TB, ownEntry bool, modules string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	name := fmt.Sprintf("initrd-%v-%v", ownEntry, modules != "")
	if f := built.files[name]; f != "" {
		return f
	}
	if built.dir == "" {
		var err error
		if built.dir, err = os.MkdirTemp("", "guestinit-test-"); err != nil {
			t.Fatal(err)
		}
		built.files = map[string]string{}
	}
	flags := "-s -w -buildid="
	if ownEntry {
		flags += " -E main.entry"
	}
	var archive bytes.Buffer
	z := gzip.NewWriter(&archive)
	inode := 0
	entry := func(name string, mode int, data []byte) {
		inode++
		fmt.Fprintf(z, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
			inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name)
		z.Write(make([]byte, -(110+len(name)+1)&3))
		z.Write(data)
		z.Write(make([]byte, -len(data)&3))
	}
	entry("init", 0o100755, compile(t, flags, "."))
	entry("bin", 0o40755, nil)
	entry("bin/job", 0o100755, compile(t, "-s -w", "./testdata/job"))
	entry("bin/text", 0o100644, []byte("no program\n"))
	entry("bin/noloader", 0o100755, []byte("#!/no/such/loader\n"))
	entry("bin/garbage", 0o100755, []byte("\x7fELFgarbage"))
	if modules != "" {
		entry("lib", 0o40755, nil)
		entry("etc", 0o40755, nil)
		entry("etc/runv", 0o40755, nil)
		list := "# for the tests\n/lib/none.ko\n"
		for _, f := range modulesInOrder(t, modules, "virtio_pci", "virtio_console", "squashfs", "overlay") {
			image, err := os.ReadFile(filepath.Join(modules, f))
			if err != nil {
				t.Fatal(err)
			}
			entry("lib/"+filepath.Base(f), 0o100644, image)
			list += "/lib/" + filepath.Base(f) + "\n"
		}
		list += "/lib/virtio_console.ko\n" // again, which is fine
		entry("etc/runv/modules", 0o100644, []byte(list))
	}
	entry("TRAILER!!!", 0, nil)
	z.Close()
	path := filepath.Join(built.dir, name)
	if err := os.WriteFile(path, archive.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	built.files[name] = path
	return path
}

func compile(t testing.TB, ldflags, pkg string) []byte {
	t.Helper()
	out := filepath.Join(built.dir, "out")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", ldflags, "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOTOOLCHAIN=go1.23.12", "GOFLAGS=")
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, msg)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// output runs the test program and returns what it printed.
func output(t testing.TB, cl *protocol.Client, p protocol.Start, stdin io.Reader) (string, protocol.Exited) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), bootTimeout)
	defer cancel()
	var out, errs bytes.Buffer
	stdio := protocol.StdIO{Stdin: stdin, Stdout: &out, Stderr: &errs}
	if p.TTY != nil {
		stdio.Stderr = nil
	}
	exit, err := cl.Run(ctx, p, stdio)
	if err != nil {
		t.Fatalf("%v: %v", p.Args, err)
	}
	return out.String() + errs.String(), exit
}

func program(args ...string) protocol.Start {
	return protocol.Start{Args: append([]string{"/bin/job"}, args...)}
}

func consoleHas(v *vm, line string) bool { return strings.Contains(v.console.String(), prefix+line) }
