package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// basicMounts is what every guest has. Order matters.
var basicMounts = []struct {
	target, fstype, data string
	flags                uintptr
}{
	{"/proc", "proc", "", syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC},
	{"/sys", "sysfs", "", syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC},
	{"/dev", "devtmpfs", "mode=0755", syscall.MS_NOSUID},
	{"/dev/pts", "devpts", "newinstance,ptmxmode=0666,mode=0620,gid=5", syscall.MS_NOSUID | syscall.MS_NOEXEC},
	{"/dev/shm", "tmpfs", "mode=1777", syscall.MS_NOSUID | syscall.MS_NODEV},
	{"/run", "tmpfs", "mode=0755", syscall.MS_NOSUID | syscall.MS_NODEV},
	{"/tmp", "tmpfs", "mode=1777", syscall.MS_NOSUID | syscall.MS_NODEV},
}

// mountBasics makes the guest's own tree and returns what went wrong: none of
// it ends the boot, as the channel may still work and the host be told.
func mountBasics() []string {
	var warnings []string
	for _, m := range basicMounts {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			warnings = append(warnings, err.Error())
			continue
		}
		err := syscall.Mount(m.fstype, m.target, m.fstype, m.flags, m.data)
		switch {
		case err == nil:
		case m.target == "/proc" && errors.Is(err, syscall.EBUSY): // entry did it
		case m.target == "/dev":
			// CONFIG_DEVTMPFS is off: nodes by hand, from sysfs.
			if err := makeNodes("/sys", "/dev"); err != nil {
				warnings = append(warnings, err.Error())
			}
		case m.target == "/dev/pts":
			// Before 2.6.29, or without CONFIG_DEVPTS_MULTIPLE_INSTANCES: one
			// instance, whose ptmx is the node in /dev.
			if err := syscall.Mount(m.fstype, m.target, m.fstype, m.flags, "mode=0620,gid=5"); err != nil {
				warnings = append(warnings, fmt.Sprintf("mount %s: %v", m.target, err))
			}
		default:
			warnings = append(warnings, fmt.Sprintf("mount %s: %v", m.target, err))
		}
	}
	return append(warnings, linkDevices()...)
}

// linkDevices adds the links that programs expect. With an instance of our own
// /dev/ptmx must lead to it (Documentation/filesystems/devpts.txt).
func linkDevices() []string {
	links := [][2]string{
		{"/proc/self/fd", "/dev/fd"},
		{"/proc/self/fd/0", "/dev/stdin"},
		{"/proc/self/fd/1", "/dev/stdout"},
		{"/proc/self/fd/2", "/dev/stderr"},
	}
	if _, err := os.Stat("/dev/pts/ptmx"); err == nil {
		if err := os.Remove("/dev/ptmx"); err == nil || errors.Is(err, os.ErrNotExist) {
			links = append(links, [2]string{"pts/ptmx", "/dev/ptmx"})
		}
	}
	var warnings []string
	for _, l := range links {
		if err := os.Symlink(l[0], l[1]); err != nil && !errors.Is(err, os.ErrExist) {
			warnings = append(warnings, err.Error())
		}
	}
	return warnings
}

// nodes that exist without a driver's entry in sysfs, or must exist at least.
var plainNodes = []struct {
	name         string
	mode         uint32
	major, minor int
}{
	{"null", 0o666, 1, 3}, {"zero", 0o666, 1, 5}, {"full", 0o666, 1, 7},
	{"random", 0o666, 1, 8}, {"urandom", 0o666, 1, 9}, {"kmsg", 0o600, 1, 11},
	{"tty", 0o666, 5, 0}, {"console", 0o600, 5, 1}, {"ptmx", 0o666, 5, 2},
}

// makeNodes does once what devtmpfs does all the time.
func makeNodes(sys, dev string) error {
	var failed error
	make := func(path string, mode uint32, major, minor int) {
		err := syscall.Mknod(path, mode, major<<8|minor&0xff|(minor&^0xff)<<12)
		if err != nil && !errors.Is(err, syscall.EEXIST) && failed == nil {
			failed = fmt.Errorf("make %s: %w", path, err)
		}
	}
	for _, n := range plainNodes {
		make(dev+"/"+n.name, syscall.S_IFCHR|n.mode, n.major, n.minor)
	}
	for _, class := range []struct {
		dir  string
		mode uint32
	}{{"/dev/char", syscall.S_IFCHR | 0o600}, {"/dev/block", syscall.S_IFBLK | 0o600}} {
		entries, err := os.ReadDir(sys + class.dir)
		if err != nil {
			continue // no such device in this kernel
		}
		for _, e := range entries {
			var major, minor int
			if _, err := fmt.Sscanf(e.Name(), "%d:%d", &major, &minor); err != nil {
				continue
			}
			name := deviceName(sys + class.dir + "/" + e.Name())
			if name == "" || strings.Contains(name, "..") {
				continue
			}
			make(dev+"/"+name, class.mode, major, minor)
		}
	}
	return failed
}

// deviceName reads DEVNAME of a device's uevent; before 2.6.31 the folder's
// own name has to do.
func deviceName(link string) string {
	if b, err := os.ReadFile(link + "/uevent"); err == nil {
		for _, line := range strings.Split(string(b), "\n") {
			if name, ok := strings.CutPrefix(line, "DEVNAME="); ok {
				if i := strings.LastIndexByte(name, '/'); i > 0 {
					_ = os.MkdirAll("/dev/"+name[:i], 0o755) // mknod reports it
				}
				return name
			}
		}
	}
	target, err := os.Readlink(link)
	if err != nil {
		return ""
	}
	return strings.ReplaceAll(target[strings.LastIndexByte(target, '/')+1:], "!", "/")
}
