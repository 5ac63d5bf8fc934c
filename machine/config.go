package machine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Names of accelerators, for [Config.Accel] and [Accel.Name].
const (
	AccelAuto = "auto"
	AccelKVM  = "kvm"
	AccelTCG  = "tcg"
)

// Machine types, for [Config.Type]. Both were seen to boot Linux 2.6.32; QEMU's
// microvm offers it no virtio at all, since virtio-mmio is of Linux 3.2.
const (
	TypePC  = "pc"
	TypeQ35 = "q35"
)

// Virtio generations, for [Config.Virtio].
//
// Linux before 4.0 claims PCI ids 0x1000 to 0x103f only
// (drivers/virtio/virtio_pci.c, virtio_pci_id_table), which is what a legacy or
// transitional device shows; a modern-only one is 0x1040 and up.
const (
	VirtioLegacy       = "legacy"
	VirtioTransitional = "transitional"
	VirtioModern       = "modern"
)

// Guest channels, for [Config.Channel], named as the guest sees them in /dev.
const (
	ChannelHVC    = "hvc0"  // virtconsole on a virtio-serial bus; the default
	ChannelSerial = "ttyS1" // second ISA serial port, for a kernel without virtio_console
)

// Disk formats, for [Disk.Format].
const (
	FormatRaw   = "raw"
	FormatQCOW2 = "qcow2"
)

// defaultQEMU is the program looked for in PATH when Config.QEMU is empty.
const defaultQEMU = "qemu-system-x86_64"

// Errors that a caller may want to tell apart.
var (
	// ErrConfig is wrapped by every error about a [Config] that cannot be run
	// as it stands: a value out of range, an unknown name, a missing file.
	ErrConfig = errors.New("invalid machine configuration")
	// ErrExited is returned by what needs a running QEMU after it has ended.
	ErrExited = errors.New("the virtual machine has ended")
	// ErrMemoryRange is wrapped by [SmallestMemory] when no size in its range
	// will do.
	ErrMemoryRange = errors.New("no memory size in the range boots")
	// ErrNoKVM is wrapped when kvm was asked for by name and cannot be used.
	ErrNoKVM = errors.New("kvm cannot be used on this host")
	// ErrQEMUMissing is wrapped when the QEMU program is not there.
	ErrQEMUMissing = errors.New("QEMU is not installed")
)

// Config is what one guest needs. Kernel and MemoryMiB must be set; every other
// field has a working zero value, except that ACPI false means none.
type Config struct {
	// QEMU is the program: a path, or a name for PATH; "" is
	// qemu-system-x86_64.
	QEMU string
	// Accel is AccelAuto (also ""), AccelKVM or AccelTCG. Auto asks
	// [ProbeAccel]; a named one is used without asking.
	Accel string
	// CacheDir keeps what [ProbeAccel] found; "" asks anew each time.
	CacheDir string

	// Kernel is the path of a bzImage or of an ELF kernel with a PVH note.
	Kernel string
	// Initrd and ExtraInitrds are paths of cpio archives, compressed or not;
	// the guest sees them unpacked one over another in this order.
	Initrd       string
	ExtraInitrds []string
	// Append is the kernel command line, one parameter an element. Nothing is
	// added: to see a console, it has to hold console=ttyS0, and for a guest
	// that ends by itself after a panic panic=1 (2.6.32 ignores panic=-1).
	Append []string

	MemoryMiB int
	VCPUs     int    // 0 is 1
	Type      string // TypePC (also "") or TypeQ35
	Virtio    string // VirtioTransitional (also ""), VirtioLegacy or VirtioModern
	CPU       string // QEMU's -cpu value; "" is chosen by accelerator and Virtio
	Firmware  string // QEMU's -bios value; "" is QEMU's default
	// ACPI gives the guest ACPI tables. Without them a guest cannot power off;
	// it has to reset instead, which ends the machine as well.
	ACPI bool
	// Paused starts the machine with its vCPUs stopped; QMP's cont runs them.
	Paused bool

	// Channel is ChannelHVC (also "") or ChannelSerial.
	Channel string
	Disks   []Disk
	RNG     bool // a virtio-rng fed from the host's getrandom

	// ConsoleLog gets every byte of ttyS0 as it comes. A slow writer slows the
	// guest down; one that fails is not written to again.
	ConsoleLog io.Writer
	// ConsoleLines is how many of the console's last lines are kept; 0 is 200.
	ConsoleLines int
	// Limits bound the boot.
	Limits Limits
	// ExtraArgs end QEMU's command line.
	ExtraArgs []string
	// NoSandbox leaves QEMU's seccomp filter out, for a QEMU built without.
	NoSandbox bool
}

// Disk is one virtio-blk disk; the first is /dev/vda in the guest.
type Disk struct {
	Path     string // an image file or a block device
	ReadOnly bool
	Format   string // FormatRaw (also "") or FormatQCOW2
	Serial   string // what the guest reads as the disk's serial, at most 20 bytes
}

// maxSerial is VIRTIO_BLK_ID_BYTES of include/linux/virtio_blk.h.
const maxSerial = 20

// maxCmdline is COMMAND_LINE_SIZE of arch/x86/include/asm/setup.h less its NUL,
// the same from 2.6.32 to 6.1; the kernel would cut a longer one short in
// silence.
const maxCmdline = 2048 - 1

func configError(field, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %w", ErrConfig, field, fmt.Errorf(format, args...))
}

// withDefaults fills the empty fields in, makes paths absolute (QEMU runs in
// the root folder) and checks what can be checked before QEMU runs.
func (c Config) withDefaults() (Config, error) {
	setDefault(&c.QEMU, defaultQEMU)
	setDefault(&c.Accel, AccelAuto)
	setDefault(&c.Type, TypePC)
	setDefault(&c.Virtio, VirtioTransitional)
	setDefault(&c.Channel, ChannelHVC)
	if c.VCPUs == 0 {
		c.VCPUs = 1
	}
	if c.ConsoleLines == 0 {
		c.ConsoleLines = 200
	}
	c.Limits = c.Limits.withDefaults()
	if err := c.check(); err != nil {
		return c, err
	}
	c.Disks = slices.Clone(c.Disks)
	for i := range c.Disks {
		if err := c.Disks[i].complete(); err != nil {
			return c, configError(fmt.Sprintf("disk %d", i), "%w", err)
		}
	}
	path, err := exec.LookPath(c.QEMU)
	if err != nil {
		return c, fmt.Errorf("%w: %w; install Debian's qemu-system-x86, or name the program", ErrQEMUMissing, err)
	}
	if c.QEMU, err = filepath.Abs(path); err != nil {
		return c, fmt.Errorf("find %s: %w", path, err)
	}
	return c, nil
}

func setDefault(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

func (c *Config) check() error {
	for _, choice := range []struct {
		field, value string
		known        []string
	}{
		{"accelerator", c.Accel, []string{AccelAuto, AccelKVM, AccelTCG}},
		{"machine type", c.Type, []string{TypePC, TypeQ35}},
		{"virtio", c.Virtio, []string{VirtioLegacy, VirtioTransitional, VirtioModern}},
		{"channel", c.Channel, []string{ChannelHVC, ChannelSerial}},
	} {
		if !slices.Contains(choice.known, choice.value) {
			return configError(choice.field, "%q is none of %s", choice.value, strings.Join(choice.known, ", "))
		}
	}
	// 255 is the most that QEMU's pc and q35 take without an interrupt remapper.
	if c.VCPUs < 1 || c.VCPUs > 255 {
		return configError("vCPUs", "%d is not between 1 and 255", c.VCPUs)
	}
	if c.MemoryMiB < 1 || c.MemoryMiB > 1<<20 {
		return configError("memory", "%d MiB is not between 1 and %d", c.MemoryMiB, 1<<20)
	}
	if c.Kernel == "" {
		return configError("kernel", "none given")
	}
	line := c.commandLine()
	if len(line) > maxCmdline {
		return configError("kernel command line", "%d bytes; Linux keeps the first %d", len(line), maxCmdline)
	}
	if i := strings.IndexFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		return configError("kernel command line", "control character at byte %d", i)
	}
	return nil
}

func (c *Config) commandLine() string { return strings.Join(c.Append, " ") }

// complete fills a disk's defaults in and checks it.
func (d *Disk) complete() error {
	setDefault(&d.Format, FormatRaw)
	if d.Format != FormatRaw && d.Format != FormatQCOW2 {
		return fmt.Errorf("format %q is neither %s nor %s", d.Format, FormatRaw, FormatQCOW2)
	}
	if len(d.Serial) > maxSerial {
		return fmt.Errorf("serial %q is longer than %d bytes", d.Serial, maxSerial)
	}
	info, err := os.Stat(d.Path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() && !isBlock(info) {
		return fmt.Errorf("%s is neither a file nor a block device", d.Path)
	}
	d.Path, err = filepath.Abs(d.Path)
	return err
}

func isBlock(info os.FileInfo) bool {
	return info.Mode()&os.ModeDevice != 0 && info.Mode()&os.ModeCharDevice == 0
}
