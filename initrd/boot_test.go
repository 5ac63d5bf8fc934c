package initrd_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runv-legacy/runv-legacy/distro"
	"github.com/runv-legacy/runv-legacy/guestinit/protocol"
	"github.com/runv-legacy/runv-legacy/initrd"
	"github.com/runv-legacy/runv-legacy/machine"
)

// bootLimit is generous: a guest without KVM on a loaded host takes a while.
const bootLimit = 5 * time.Minute

// boot starts a guest with an initrd and the programs behind it.
func boot(t *testing.T, kernel string, archives ...[]byte) *protocol.Client {
	t.Helper()
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("no QEMU (Debian package qemu-system-x86)")
	}
	dir := t.TempDir()
	var files []string
	for i, data := range archives {
		file := filepath.Join(dir, "initrd"+string(rune('0'+i)))
		must(t, os.WriteFile(file, data, 0o644))
		files = append(files, file)
	}
	ctx, cancel := context.WithTimeout(context.Background(), bootLimit)
	t.Cleanup(cancel)
	m, err := machine.Start(ctx, machine.Config{
		Accel: machine.AccelTCG, Kernel: kernel, Initrd: files[0], ExtraInitrds: files[1:],
		Append: []string{"console=ttyS0", "panic=1"}, MemoryMiB: 256, ACPI: true, RNG: true,
	})
	must(t, err)
	t.Cleanup(func() { m.Kill() })
	var client *protocol.Client
	err = m.Boot(ctx, func(ctx context.Context, conn net.Conn) (err error) {
		client, err = protocol.Connect(ctx, conn, protocol.AttachBoot, protocol.Options{})
		return err
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(m.Console(), "\n"))
	}
	return client
}

// guestRun runs a command in the guest and gives its exit code and output.
func guestRun(t *testing.T, guest *protocol.Client, args ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out, diag bytes.Buffer
	exit, err := guest.Run(ctx, protocol.Start{Args: args, Env: []string{"PATH=/bin:/sbin", "HOME=/root"}},
		protocol.StdIO{Stdout: &out, Stderr: &diag})
	var call *protocol.CallError
	if errors.As(err, &call) {
		t.Fatalf("%q: %v", args, err)
	}
	must(t, err)
	return exit.Code, out.String() + diag.String()
}

// legacyKernel is a bzImage of 2.6.32.
func legacyKernel(t *testing.T) string {
	t.Helper()
	file := os.Getenv("RUNV_TEST_VMLINUZ_2_6_32")
	if file == "" {
		t.Skip("no 2.6.32 kernel to boot; name one in RUNV_TEST_VMLINUZ_2_6_32")
	}
	return file
}

func TestProgramsRunOnLinux2632(t *testing.T) {
	kernel := legacyKernel(t)
	archive, err := initrd.Build(context.Background(), initrd.Options{})
	must(t, err)
	programs, err := initrd.Programs(context.Background())
	must(t, err)
	guest := boot(t, kernel, archive, programs)
	if !strings.HasPrefix(guest.Guest().Release, "2.6.32") {
		t.Fatalf("the guest runs %s", guest.Guest().Release)
	}
	if code, _ := guestRun(t, guest, "/bin/sh", "-c", "exit 3"); code != 3 {
		t.Errorf("sh -c 'exit 3' gives %d", code)
	}
	for name, e := range unpack(t, programs) {
		if e.Type() != initrd.TypeSymlink || slices.Contains(notStarted(), filepath.Base(name)) {
			continue
		}
		checkStart(t, name, func(args ...string) (int, string) { return guestRun(t, guest, args...) })
	}
	for script, want := range scripts() {
		if _, got := guestRun(t, guest, "/bin/sh", "-c", script); got != want {
			t.Errorf("%s\ngives %q, want %q", script, got, want)
		}
	}
	checkGuestFiles(t, guest)
}

// checkGuestFiles looks at what only a kernel shows of an archive.
func checkGuestFiles(t *testing.T, guest *protocol.Client) {
	t.Helper()
	for _, condition := range []string{"-x /init", "-L /bin/sh", "-d /tmp", "-c /dev/console", "-f /etc/passwd"} {
		if code, out := guestRun(t, guest, "/bin/sh", "-c", "test "+condition); code != 0 {
			_, list := guestRun(t, guest, "/bin/ls", "-l", strings.Fields(condition)[1])
			t.Errorf("test %s: exit code %d %q\n%s", condition, code, out, list)
		}
	}
	if _, got := guestRun(t, guest, "/bin/ls", "-l", "/bin/bb"); !strings.Contains(got, "-rwxr-xr-x root root") {
		t.Errorf("mode or owner of /bin/bb: %q", got)
	}
}

// A Debian kernel has all of virtio as modules: no channel, no disk without
// our load order.
func TestImportedDebianKernelBoots(t *testing.T) {
	deb := os.Getenv("RUNV_TEST_KERNEL_DEB")
	if deb == "" {
		t.Skip("no Debian kernel package to boot; name one in RUNV_TEST_KERNEL_DEB")
	}
	kernel, err := distro.Import(context.Background(), distro.Options{Deb: deb, TempDir: t.TempDir()})
	must(t, err)
	archive, err := initrd.Build(context.Background(), kernel.Initrd())
	must(t, err)
	programs, err := initrd.Programs(context.Background())
	must(t, err)
	vmlinuz := filepath.Join(t.TempDir(), "vmlinuz")
	must(t, os.WriteFile(vmlinuz, kernel.Kernel, 0o644))

	guest := boot(t, vmlinuz, archive, programs)
	info := guest.Guest()
	t.Logf("%s: initrd %d bytes, up after %d ms, channel %s, modules %q, warnings %q", info.Release, len(archive), info.UptimeMS, info.Channel, info.Modules, info.Warnings)
	if info.Release != kernel.Release || info.Channel != "hvc0" {
		t.Errorf("release %s, channel %s", info.Release, info.Channel)
	}
	loaded := map[string]bool{}
	for _, name := range info.Modules {
		loaded[strings.ReplaceAll(name, "-", "_")] = true
	}
	for _, name := range kernel.LoadOrder {
		if !loaded[name] {
			t.Errorf("%s was not loaded: %q", name, info.Warnings)
		}
	}
	_, filesystems := guestRun(t, guest, "/bin/cat", "/proc/filesystems")
	for _, fs := range []string{"ext4", "squashfs", "overlay"} {
		if !strings.Contains(filesystems, "\t"+fs+"\n") {
			t.Errorf("the guest has no %s:\n%s", fs, filesystems)
		}
	}
	if code, out := guestRun(t, guest, "/bin/sh", "-c", "uname -r; exit 3"); code != 3 || strings.TrimSpace(out) != kernel.Release {
		t.Errorf("exit code %d, output %q", code, out)
	}
}
