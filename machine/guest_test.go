package machine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// The guests that the tests boot, each by an environment entry that holds the
// path of its kernel.
var testKernels = []struct {
	name, env, virtio string
}{
	{"2.6.32", "RUNV_TEST_VMLINUZ_2_6_32", VirtioLegacy},
	{"6.1", "RUNV_TEST_VMLINUZ_6_1", VirtioModern},
}

// forEachKernel runs test on every kernel that is given.
func forEachKernel(t *testing.T, test func(t *testing.T, cfg Config)) {
	for _, kernel := range testKernels {
		t.Run(kernel.name, func(t *testing.T) {
			path := os.Getenv(kernel.env)
			if path == "" {
				t.Skipf("no guest: %s does not hold the path of a %s kernel", kernel.env, kernel.name)
			}
			test(t, Config{
				Accel: AccelTCG, Kernel: path, Initrd: testInitrd(t), ACPI: true,
				Virtio: kernel.virtio, MemoryMiB: 128,
				Append: []string{"console=ttyS0", "panic=1", "channel=hvc0"},
			})
		})
	}
}

var builtInit = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "machine-test-init")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "init")
	// Process 1 has to be of a Go that supports 2.6.32, which 1.24 ended.
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "main.go", "raw.go")
	cmd.Dir = "testdata/init"
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GO111MODULE=off", "GOTOOLCHAIN=go1.23.12", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the tests' init: %w\n%s", err, text)
	}
	return os.ReadFile(out)
})

func testInitrd(t testing.TB) string {
	t.Helper()
	program, err := builtInit()
	if err != nil {
		t.Fatal(err)
	}
	return writeArchive(t,
		member{"dev", 0o040755, 0, 0, nil},
		member{"dev/console", 0o020600, 5, 1, nil},
		member{"dev/null", 0o020666, 1, 3, nil},
		member{"dev/hvc0", 0o020600, 229, 0, nil},
		member{"dev/ttyS1", 0o020600, 4, 65, nil},
		member{"init", 0o100755, 0, 0, program})
}

// member is one file of a cpio archive.
type member struct {
	name         string
	mode         int
	major, minor int
	data         []byte
}

// archive is a newc cpio (Documentation/early-userspace/buffer-format.txt).
func archive(members ...member) []byte {
	var b bytes.Buffer
	pad := func() {
		for b.Len()%4 != 0 {
			b.WriteByte(0)
		}
	}
	for i, m := range append(members, member{name: "TRAILER!!!"}) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
			i+1, m.mode, 0, 0, 1, 0, len(m.data), 0, 0, m.major, m.minor, len(m.name)+1, 0, m.name)
		pad()
		b.Write(m.data)
		pad()
	}
	return b.Bytes()
}

func writeArchive(t testing.TB, members ...member) string {
	t.Helper()
	return writeFile(t, archive(members...))
}

func writeFile(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func mode(cfg Config, name string) Config {
	cfg.Append = append([]string{"mode=" + name}, cfg.Append...)
	return cfg
}

func start(t testing.TB, cfg Config) *Machine {
	t.Helper()
	m, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// expectHello is what the tests' init says first.
func expectHello(_ context.Context, channel net.Conn) error {
	line, err := bufio.NewReader(channel).ReadString('\n')
	if err == nil && line != "hello\n" {
		err = fmt.Errorf("the guest said %q", line)
	}
	return err
}

// bootError boots a guest that is not to come up.
func bootError(t *testing.T, cfg Config) *BootError {
	t.Helper()
	m := start(t, cfg)
	err := m.Boot(t.Context(), expectHello)
	var dead *BootError
	if !errors.As(err, &dead) {
		t.Fatalf("Boot: %v; want a *BootError\n%s", err, strings.Join(m.Console(), "\n"))
	}
	select {
	case <-m.Done():
	default:
		t.Error("QEMU runs on after a failed boot")
	}
	t.Log(dead.Error())
	if strings.Contains(dead.Error(), "\n") {
		t.Errorf("%q is more than one line", dead.Error())
	}
	return dead
}

func wait(t *testing.T, m *Machine, limit time.Duration) Exit {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	exit, err := m.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return exit
}
