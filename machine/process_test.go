package machine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// idleConfig is a machine that needs no kernel of any worth: its vCPUs never
// run.
func idleConfig(t testing.TB) Config {
	t.Helper()
	if _, err := exec.LookPath(defaultQEMU); err != nil {
		t.Skipf("no QEMU: %v", err)
	}
	return Config{Accel: AccelTCG, Kernel: writeFile(t, fakeKernel()), MemoryMiB: 64, Paused: true}
}

// fakeKernel has the header of a bzImage and no code.
func fakeKernel() []byte {
	image := make([]byte, 64<<10)
	image[0x1f1] = 4 // setup sectors
	copy(image[bzImageMagicAt:], "HdrS\x0a\x02")
	image[0x211] = 1 // loaded high
	return image
}

func running(pid int) bool { return syscall.Kill(pid, 0) == nil }

// waitGone waits until pid is no longer a process.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000)
	if err != nil || n == 0 {
		t.Errorf("process %d runs on (poll: %d, %v)", pid, n, err)
	}
}

func TestMain(m *testing.M) {
	if kernel := os.Getenv("MACHINE_TEST_START"); kernel != "" {
		startAndSleep(kernel)
	}
	os.Exit(m.Run())
}

// startAndSleep is a process of its own that has a machine and is to be killed.
func startAndSleep(kernel string) {
	m, err := Start(context.Background(), Config{Accel: AccelTCG, Kernel: kernel, MemoryMiB: 64, Paused: true})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(m.Pid())
	time.Sleep(time.Hour)
}

func TestKilledParentLeavesNoQEMU(t *testing.T) {
	cfg := idleConfig(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "MACHINE_TEST_START="+cfg.Kernel)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("the child said %q", line)
	}
	if !running(pid) {
		t.Fatal("QEMU does not run")
	}
	cmd.Process.Kill()
	cmd.Wait()
	waitGone(t, pid)
}

// A goroutine that ends with its thread locked ends that thread, and with it,
// were QEMU started on it, QEMU.
func TestQEMUOutlivesThreads(t *testing.T) {
	m := start(t, idleConfig(t))
	for range 64 {
		ended := make(chan bool)
		go func() {
			defer close(ended)
			runtime.LockOSThread()
		}()
		<-ended
	}
	if err := m.Pause(t.Context()); err != nil {
		t.Errorf("QEMU is gone: %v", err)
	}
}

func TestQEMUInheritsOnlyItsOwn(t *testing.T) {
	cfg := idleConfig(t)
	secret := writeFile(t, []byte("secret"))
	fd, err := unix.Open(secret, unix.O_RDONLY, 0) // with no O_CLOEXEC, as a parent may leave one
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	t.Setenv("MACHINE_TEST_SECRET", "secret")
	m := start(t, cfg)

	dir := fmt.Sprintf("/proc/%d", m.Pid())
	fds, err := os.ReadDir(dir + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		target, err := os.Readlink(filepath.Join(dir, "fd", fd.Name()))
		if err == nil && target == secret {
			t.Errorf("QEMU has %s open", secret)
		}
		if fd.Name() == "0" && target != "/dev/null" {
			t.Errorf("QEMU's standard input is %s", target)
		}
	}
	env, err := os.ReadFile(dir + "/environ")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(env), "SECRET") {
		t.Errorf("QEMU's environment is %q", env)
	}
	if pgid, err := unix.Getpgid(m.Pid()); err != nil || pgid != m.Pid() {
		t.Errorf("QEMU is in process group %d (%v), want its own", pgid, err)
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(status), "Seccomp:\t2\n") {
		t.Error("QEMU has no seccomp filter")
	}
}

func TestStartRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		is     error
		text   string
	}{
		"QEMU missing":       {func(c *Config) { c.QEMU = "qemu-system-none" }, ErrQEMUMissing, "install"},
		"random bytes":       {func(c *Config) { c.Kernel = writeFile(t, []byte(strings.Repeat("random", 999))) }, ErrConfig, "neither a bzImage nor ELF"},
		"empty kernel":       {func(c *Config) { c.Kernel = writeFile(t, nil) }, ErrConfig, "not a Linux kernel"},
		"kernel missing":     {func(c *Config) { c.Kernel = "/nonexistent/vmlinuz" }, os.ErrNotExist, "kernel"},
		"initrd missing":     {func(c *Config) { c.Initrd = "/nonexistent/initrd" }, os.ErrNotExist, "initrd"},
		"extra missing":      {func(c *Config) { c.Initrd, c.ExtraInitrds = c.Kernel, []string{"/nonexistent/initrd"} }, os.ErrNotExist, "initrd"},
		"disk missing":       {func(c *Config) { c.Disks = []Disk{{Path: "/nonexistent/disk"}} }, os.ErrNotExist, "disk 0"},
		"disk a folder":      {func(c *Config) { c.Disks = []Disk{{Path: "/"}} }, ErrConfig, "neither a file nor a block device"},
		"disk format":        {func(c *Config) { c.Disks = []Disk{{Path: c.Kernel, Format: "vmdk"}} }, ErrConfig, "vmdk"},
		"no memory":          {func(c *Config) { c.MemoryMiB = 0 }, ErrConfig, "memory"},
		"vCPUs":              {func(c *Config) { c.VCPUs = -1 }, ErrConfig, "vCPUs"},
		"machine type":       {func(c *Config) { c.Type = "microvm" }, ErrConfig, `"microvm"`},
		"virtio":             {func(c *Config) { c.Virtio = "2.0" }, ErrConfig, "virtio"},
		"accelerator":        {func(c *Config) { c.Accel = "xen" }, ErrConfig, "accelerator"},
		"channel":            {func(c *Config) { c.Channel = "vsock" }, ErrConfig, "channel"},
		"long command line":  {func(c *Config) { c.Append = []string{strings.Repeat("x", 4096)} }, ErrConfig, "command line"},
		"newline in command": {func(c *Config) { c.Append = []string{"a\nb"} }, ErrConfig, "control character"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := idleConfig(t)
			c.change(&cfg)
			m, err := Start(t.Context(), cfg)
			if err == nil {
				m.Close()
			}
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v; want one that is %q and has %q", err, c.is, c.text)
			}
			t.Log(err)
		})
	}
}

func TestQEMUFails(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		line   string
	}{
		"CPU model":  {func(c *Config) { c.CPU = "z80" }, "z80"},
		"argument":   {func(c *Config) { c.ExtraArgs = []string{"-no-such-flag"} }, "-no-such-flag"},
		"big initrd": {func(c *Config) { c.MemoryMiB, c.Initrd = 4, writeFile(t, make([]byte, 8<<20)) }, "initrd is too large"},
		"disk image": {func(c *Config) { c.Disks = []Disk{{Path: c.Kernel, Format: FormatQCOW2}} }, "qcow2"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := idleConfig(t)
			c.change(&cfg)
			m, err := Start(t.Context(), cfg)
			if err == nil {
				m.Close()
			}
			var dead *BootError
			if !errors.As(err, &dead) || dead.Kind != QEMU || !strings.Contains(dead.Line, c.line) {
				t.Errorf("got %v; want QEMU's line with %q", err, c.line)
			}
			t.Log(err)
		})
	}
}

func TestDiskIsLocked(t *testing.T) {
	cfg := idleConfig(t)
	cfg.Disks = []Disk{{Path: writeFile(t, make([]byte, 1<<20))}}
	start(t, cfg)
	m, err := Start(t.Context(), cfg)
	if err == nil {
		m.Close()
	}
	var dead *BootError
	if !errors.As(err, &dead) || !strings.Contains(dead.Line, "lock") {
		t.Errorf("got %v; want that the image is locked", err)
	}
}

func TestQEMUKilledByAnother(t *testing.T) {
	m := start(t, idleConfig(t))
	if err := syscall.Kill(m.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	exit := wait(t, m, 10*time.Second)
	if exit.Reason != QEMUFailed || exit.Signal != syscall.SIGKILL || exit.Err == nil || !strings.Contains(exit.Err.Error(), "killed") {
		t.Errorf("exit = %+v (%v), want that QEMU was killed", exit, exit.Err)
	}
}

func TestEndsByTheHost(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*Machine)
		want Reason
	}{
		"quit":  {func(m *Machine) { m.Quit(t.Context()) }, HostQuit},
		"kill":  {func(m *Machine) { m.Kill() }, HostKilled},
		"close": {func(m *Machine) { m.Close(); m.Close() }, HostKilled},
		"term":  {func(m *Machine) { syscall.Kill(m.Pid(), syscall.SIGTERM) }, HostQuit},
	} {
		t.Run(name, func(t *testing.T) {
			m := start(t, idleConfig(t))
			c.end(m)
			if exit := wait(t, m, 10*time.Second); exit.Reason != c.want || exit.Err != nil {
				t.Errorf("exit = %+v, want %s", exit, c.want)
			}
			if err := m.Cont(t.Context()); err == nil {
				t.Error("an ended machine takes commands")
			}
		})
	}
}

// Nothing of ours is left when a start fails or a machine has ended.
func TestNoFileLeaks(t *testing.T) {
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	cfg := idleConfig(t)
	bad := cfg
	bad.CPU = "z80"
	joined := cfg
	joined.Initrd, joined.ExtraInitrds = cfg.Kernel, []string{cfg.Kernel}
	once := func() {
		for _, cfg := range []Config{cfg, bad, joined} {
			if m, err := Start(t.Context(), cfg); err == nil {
				m.Close()
			}
		}
	}
	once() // the runtime's own files
	before := count()
	for range 3 {
		once()
	}
	if after := count(); after > before {
		t.Errorf("%d files open, %d before", after, before)
	}
}
