package machine

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The command line is a contract: a saved guest can only be loaded by a QEMU
// with the same devices in the same order.
func TestCommandLines(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk,1.img")
	if err := os.WriteFile(disk, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	base := Config{QEMU: os.Args[0], Kernel: "vmlinuz", MemoryMiB: 64, ACPI: true, Append: []string{"console=ttyS0", "panic=1"}}
	for name, change := range map[string]func(*Config){
		"default": func(*Config) {},
		"legacy": func(c *Config) {
			c.Virtio, c.RNG = VirtioLegacy, true
			c.Disks = []Disk{{Path: disk, ReadOnly: true, Serial: "rootfs"}, {Path: disk, Format: FormatQCOW2}}
		},
		"modern": func(c *Config) {
			c.Virtio, c.Type, c.RNG, c.Initrd = VirtioModern, TypeQ35, true, "initrd.img"
		},
		"serial": func(c *Config) {
			c.Channel, c.ACPI, c.Paused, c.NoSandbox, c.CPU, c.VCPUs = ChannelSerial, false, true, true, "max", 2
			c.Firmware, c.ExtraArgs = "qboot.rom", []string{"-d", "int"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := base
			change(&cfg)
			cfg, err := cfg.withDefaults()
			if err != nil {
				t.Fatal(err)
			}
			fd := endpoints{qmp: 3, console: 4, channel: 5, kernel: 6}
			if cfg.Initrd != "" {
				fd.initrd = 7
			}
			args, err := cfg.args(AccelTCG, fd)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.ReplaceAll(strings.Join(args, "\n")+"\n", disk, "DISK")
			golden := filepath.Join("testdata", name+".args")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestCPUModelUnderKVM(t *testing.T) {
	if got := defaultCPU(AccelKVM, VirtioModern); got != "host" {
		t.Errorf("a modern kernel gets %s", got)
	}
	if old := defaultCPU(AccelKVM, VirtioLegacy); old != defaultCPU(AccelTCG, VirtioLegacy) || slices.Contains(strings.Split(old, ","), "host") {
		t.Errorf("an old kernel gets %s", old)
	}
}

func TestSmallestMemory(t *testing.T) {
	for least := 3; least <= 40; least++ {
		asked := 0
		got, err := SmallestMemory(t.Context(), 3, 40, func(_ context.Context, mib int) (bool, error) {
			asked++
			return mib >= least, nil
		})
		if err != nil || got != least || asked > 7 {
			t.Errorf("SmallestMemory = %d, %v after %d boots; want %d", got, err, asked, least)
		}
	}
}

func TestSmallestMemoryFails(t *testing.T) {
	never := func(context.Context, int) (bool, error) { return false, nil }
	broken := errors.New("no QEMU")
	for name, c := range map[string]struct {
		low, high int
		boots     func(context.Context, int) (bool, error)
		want      error
	}{
		"never boots": {1, 64, never, ErrMemoryRange},
		"no range":    {64, 1, never, ErrMemoryRange},
		"cannot tell": {1, 64, func(context.Context, int) (bool, error) { return false, broken }, broken},
	} {
		if got, err := SmallestMemory(t.Context(), c.low, c.high, c.boots); !errors.Is(err, c.want) {
			t.Errorf("%s: %d, %v; want %v", name, got, err, c.want)
		}
	}
}
