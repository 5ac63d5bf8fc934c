package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/runv-legacy/runv-legacy/guestinit/protocol"
)

var builtGuestinit = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "machine-test-guestinit")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "init")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, ".")
	cmd.Dir = "../guestinit"
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOTOOLCHAIN=go1.23.12", "GOFLAGS=", "GOWORK=off")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build guestinit: %w\n%s", err, text)
	}
	return os.ReadFile(out)
})

func guestinitArchive(t testing.TB) string {
	t.Helper()
	program, err := builtGuestinit()
	if err != nil {
		t.Fatal(err)
	}
	return writeArchive(t,
		member{"dev", 0o040755, 0, 0, nil},
		member{"dev/console", 0o020600, 5, 1, nil},
		member{"dev/null", 0o020666, 1, 3, nil},
		member{"init", 0o100755, 0, 0, program})
}

func TestGuestSpeaksTheProtocol(t *testing.T) {
	forEachKernel(t, func(t *testing.T, cfg Config) {
		cfg.Initrd = guestinitArchive(t)
		m := start(t, cfg)
		client, err := m.Guest(t.Context(), protocol.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		exit := m.Stop(ctx, func(ctx context.Context) error { return client.Poweroff(ctx, protocol.Poweroff{}) })
		if exit.Reason != GuestShutdown {
			t.Errorf("exit = %+v, want a shutdown by the guest", exit)
		}
	})
}

// firstWrite notes when the console said its first byte.
type firstWrite struct{ at time.Time }

func (w *firstWrite) Write(p []byte) (int, error) {
	if w.at.IsZero() {
		w.at = time.Now()
	}
	return len(p), nil
}

// What is varied by [BenchmarkBoot]: the choices that this package makes.
var benchVariants = []struct {
	name   string
	change func(*Config)
}{
	{"default", func(*Config) {}},
	{"quiet", func(c *Config) { c.Append = append(slices.Clone(c.Append), "quiet") }},
	{"q35", func(c *Config) { c.Type = TypeQ35 }},
	{"qboot", func(c *Config) { c.Firmware = "qboot.rom" }},
	{"cpu-qemu64", func(c *Config) { c.CPU = "qemu64" }},
	{"cpu-max", func(c *Config) { c.CPU = "max" }},
}

// BenchmarkBoot is from QEMU's start to the console's first byte, to guestinit's
// Hello, and the processor time that QEMU took, all medians.
func BenchmarkBoot(b *testing.B) {
	for _, kernel := range testKernels {
		path := os.Getenv(kernel.env)
		if path == "" {
			continue
		}
		initrd := guestinitArchive(b)
		for _, variant := range benchVariants {
			b.Run(kernel.name+"/"+variant.name, func(b *testing.B) {
				cfg := Config{
					Accel: AccelTCG, Kernel: path, Initrd: initrd, ACPI: true, Virtio: kernel.virtio, MemoryMiB: 128,
					Append: []string{"console=ttyS0", "panic=1"},
				}
				variant.change(&cfg)
				var console, hello, cpu []time.Duration
				for b.Loop() {
					var first firstWrite
					cfg.ConsoleLog = &first
					m := start(b, cfg)
					client, err := m.Guest(b.Context(), protocol.Options{})
					if err != nil {
						b.Fatal(err)
					}
					hello = append(hello, time.Since(m.StartTime()))
					client.Close()
					m.Close()
					if !first.at.IsZero() { // it is quiet
						console = append(console, first.at.Sub(m.StartTime()))
					}
					cpu = append(cpu, m.cmd.ProcessState.UserTime()+m.cmd.ProcessState.SystemTime())
				}
				for unit, values := range map[string][]time.Duration{"console-ms": console, "hello-ms": hello, "cpu-ms": cpu} {
					if len(values) == 0 {
						continue
					}
					slices.Sort(values)
					b.ReportMetric(float64(values[len(values)/2])/1e6, unit)
					b.ReportMetric(float64(values[0])/1e6, "min-"+unit)
				}
			})
		}
	}
}

// BenchmarkSmallestMemory is the least memory in which guestinit says Hello.
func BenchmarkSmallestMemory(b *testing.B) {
	for _, kernel := range testKernels {
		path := os.Getenv(kernel.env)
		if path == "" {
			continue
		}
		initrd := guestinitArchive(b)
		b.Run(kernel.name, func(b *testing.B) {
			for b.Loop() {
				least, err := SmallestMemory(b.Context(), 8, 256, func(ctx context.Context, mib int) (bool, error) {
					m, err := Start(ctx, Config{
						Accel: AccelTCG, Kernel: path, Initrd: initrd, ACPI: true, Virtio: kernel.virtio, MemoryMiB: mib,
						Append: []string{"console=ttyS0", "panic=1"},
					})
					if err == nil {
						defer m.Close()
						_, err = m.Guest(ctx, protocol.Options{})
					}
					var dead *BootError
					if errors.As(err, &dead) {
						return false, nil
					}
					return err == nil, err
				})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(least), "MiB")
			}
		})
	}
}
