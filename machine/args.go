package machine

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
)

// memoryID names the guest's memory. A saved guest finds its memory again by
// this name, so it is the same whatever kind of backend holds it.
const memoryID = "ram"

// Files of QEMU's that are inherited rather than opened, numbered as QEMU sees
// them; os/exec numbers its ExtraFiles from 3.
type inherited struct {
	files []*os.File
}

func (in *inherited) add(f *os.File) int {
	in.files = append(in.files, f)
	return 2 + len(in.files)
}

// endpoints are the numbers of the inherited files.
type endpoints struct {
	qmp, console, channel int
	kernel, initrd        int // initrd 0 is none
}

// defaultCPU is the model for a profile that names none.
//
// An old kernel must not meet a feature that carries state, registers or
// control bits it does not know (`-cpu host` made QEMU itself abort under one
// host's kvm). So the base is qemu64, plus instructions that are nothing but
// instructions and that programs built for x86-64-v2 expect. A kernel that takes
// modern virtio is 4.0 or later and gets all that kvm can give.
func defaultCPU(accel, virtio string) string {
	if accel == AccelKVM && virtio == VirtioModern {
		return "host"
	}
	return "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+aes,+pclmulqdq,+rdrand"
}

// virtioGeneration sets the properties that make a device of the generation.
// On a root bus QEMU's own default is transitional; it is written out since
// behind a PCI Express root port it would be modern.
func virtioGeneration(device map[string]any, generation string) map[string]any {
	device["disable-legacy"] = "off"
	device["disable-modern"] = false
	switch generation {
	case VirtioLegacy:
		device["disable-modern"] = true
	case VirtioModern:
		device["disable-legacy"] = "on"
	}
	return device
}

// args is QEMU's command line. It has a path of the host's only for firmware
// and disks; no device is there that is not named here. Their order is fixed,
// since it sets PCI addresses, and a guest saved from one QEMU can be loaded
// only by one with the same.
func (c *Config) args(accel string, fd endpoints) ([]string, error) {
	cpu := c.CPU
	setDefault(&cpu, defaultCPU(accel, c.Virtio))
	acpi := "off"
	if c.ACPI {
		acpi = "on"
	}
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-machine", fmt.Sprintf("%s,acpi=%s,memory-backend=%s", c.Type, acpi, memoryID),
		"-accel", accel, "-cpu", cpu,
		"-smp", strconv.Itoa(c.VCPUs),
		"-m", strconv.Itoa(c.MemoryMiB) + "M",
	}
	if !c.NoSandbox {
		args = append(args, "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
	}
	if c.Firmware != "" {
		args = append(args, "-bios", c.Firmware)
	}
	if c.Paused {
		args = append(args, "-S")
	}
	args = append(args, "-kernel", fdPath(fd.kernel), "-append", c.commandLine())
	if fd.initrd != 0 {
		args = append(args, "-initrd", fdPath(fd.initrd))
	}
	args = append(args,
		"-chardev", fmt.Sprintf("socket,id=qmp,fd=%d", fd.qmp),
		"-mon", "chardev=qmp,mode=control",
		"-chardev", fmt.Sprintf("socket,id=console,fd=%d", fd.console),
		"-chardev", fmt.Sprintf("socket,id=channel,fd=%d", fd.channel),
	)
	for _, option := range c.devices() {
		value, err := json.Marshal(option.value)
		if err != nil {
			return nil, fmt.Errorf("write QEMU's %s: %w", option.flag, err)
		}
		args = append(args, option.flag, string(value))
	}
	return append(args, c.ExtraArgs...), nil
}

func fdPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// option is a flag of QEMU's with a value in JSON, which needs no escaping of
// commas (-object since QEMU 6.0, -device since 6.2, -blockdev since 2.9).
type option struct {
	flag  string
	value map[string]any
}

func (c *Config) devices() []option {
	options := []option{
		{"-object", map[string]any{"qom-type": "memory-backend-ram", "id": memoryID, "size": int64(c.MemoryMiB) << 20}},
		{"-device", map[string]any{"driver": "isa-serial", "id": "ttyS0", "index": 0, "chardev": "console"}},
	}
	if c.Channel == ChannelSerial {
		options = append(options, option{"-device", map[string]any{"driver": "isa-serial", "id": "ttyS1", "index": 1, "chardev": "channel"}})
	} else {
		// max_ports: 2.6.32's driver knows one port, and a 6.1 guest would set
		// queues up for all 31 that QEMU offers by default.
		options = append(options,
			option{"-device", virtioGeneration(map[string]any{"driver": "virtio-serial-pci", "id": "serial", "max_ports": 1}, c.Virtio)},
			option{"-device", map[string]any{"driver": "virtconsole", "id": "hvc0", "bus": "serial.0", "chardev": "channel"}})
	}
	if c.RNG {
		options = append(options,
			option{"-object", map[string]any{"qom-type": "rng-builtin", "id": "entropy"}},
			option{"-device", virtioGeneration(map[string]any{"driver": "virtio-rng-pci", "id": "rng", "rng": "entropy"}, c.Virtio)})
	}
	for i, d := range c.Disks {
		options = append(options, d.options(i, c.Virtio)...)
	}
	return options
}

// options are the disk's block backend and its device. Locking is asked for, so
// that two machines never write one image.
func (d *Disk) options(i int, generation string) []option {
	file := map[string]any{"driver": "file", "filename": d.Path, "locking": "on"}
	if info, err := os.Stat(d.Path); err == nil && isBlock(info) {
		file["driver"] = "host_device"
	}
	node := fmt.Sprintf("disk%d", i)
	device := map[string]any{"driver": "virtio-blk-pci", "id": "vd" + node, "drive": node}
	if d.Serial != "" {
		device["serial"] = d.Serial
	}
	return []option{
		{"-blockdev", map[string]any{"driver": d.Format, "node-name": node, "read-only": d.ReadOnly, "file": file}},
		{"-device", virtioGeneration(device, generation)},
	}
}
