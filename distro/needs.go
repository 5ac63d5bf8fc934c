package distro

// need is one thing that a guest wants of its kernel.
type need struct {
	// module is its name as lsmod shows it.
	module string

	// symbol builds it in; for kernels without modules.builtin, which came
	// with 2.6.33.
	symbol string

	// why is said where it is missing.
	why string

	// must be there, or the guest cannot run at all.
	must bool
}

// needs are in the order in which modules are loaded, as far as their
// dependencies allow: first what the host waits for.
func needs() []need {
	return []need{
		{"virtio_pci", "CONFIG_VIRTIO_PCI", "no virtio device is found", true},
		{"virtio_console", "CONFIG_VIRTIO_CONSOLE", "the host's channel falls back to a serial line, which is slow", false},
		{"virtio_blk", "CONFIG_VIRTIO_BLK", "root file systems are disks", true},
		{"virtio_net", "CONFIG_VIRTIO_NET", "no network", false},
		{"virtio_rng", "CONFIG_HW_RANDOM_VIRTIO", "no random numbers from the host", false},
		{"virtio_balloon", "CONFIG_VIRTIO_BALLOON", "memory cannot be given back to the host", false},
		{"ext4", "CONFIG_EXT4_FS", "no ext4 disks", false},
		{"squashfs", "CONFIG_SQUASHFS", "no squashfs disks", false},
		{"isofs", "CONFIG_ISO9660_FS", "no ISO 9660 disks", false},
		{"9pnet_virtio", "CONFIG_NET_9P_VIRTIO", "no folders shared by the host", false},
		{"9p", "CONFIG_9P_FS", "no folders shared by the host", false},
		{"overlay", "CONFIG_OVERLAY_FS", "no overlay file systems (they came with 3.18)", false},
		{"af_packet", "CONFIG_PACKET", "no raw packets: no DHCP client", false},
		{"tun", "CONFIG_TUN", "no tap devices in the guest", false},
		{"veth", "CONFIG_VETH", "no virtual network pairs in the guest", false},
	}
}

// serial is what a guest without virtio_console needs.
func serial() need {
	return need{"8250", "CONFIG_SERIAL_8250", "neither virtio_console nor a serial line carries the host's channel", true}
}
